"""Freeze-thaw search: one model of all courses, one index for what to begin, to end and to take up again."""
