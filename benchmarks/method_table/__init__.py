"""Every method at equal budgets: size and accuracy, beside the orderings that were published."""
