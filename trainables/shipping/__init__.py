"""The file that ships: written, read, described, evaluated."""
