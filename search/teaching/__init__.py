"""The teacher of a sweep and what it makes for students."""
