"""Weights and inputs of a network while they are compressed."""
