"""Telling MLflow of a sweep."""
