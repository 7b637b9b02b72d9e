"""What happened in a sweep, as its own folder keeps it."""
