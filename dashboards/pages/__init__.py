"""One view per file: ``PATH`` and ``TITLE`` for the way there, ``owns``, ``layout`` and ``register``."""

from dashboards.pages import compare, front, parameters, progress, trial

PAGES = (front, trial, progress, parameters, compare)
