"""What a sweep would take, and what it could not meet."""
