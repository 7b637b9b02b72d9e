"""What a student is judged by: limits, fronts, aliases, importance of parameters."""
