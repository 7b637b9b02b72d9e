"""Structured pruning: anybody's network with fewer channels and blocks."""
