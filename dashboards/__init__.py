"""Figures, the offline page and the live page of a sweep's results; they read the store and write nothing."""
