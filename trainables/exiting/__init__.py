"""Networks with early exits: where the exits are, what they answer, and when."""
