"""What a user can put right."""


class Problem(Exception):
    """One clear sentence that says what is wrong and what to do; the command exits with 2."""
