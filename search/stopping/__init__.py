"""Which student ends early, and which goes on."""
