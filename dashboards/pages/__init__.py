"""One view per file: ``PATH`` and ``TITLE`` for the way there, ``layout`` and ``register``."""

from types import ModuleType

from dashboards.pages import compare, front, pair, parameters, progress, trial

PAGES = (front, trial, progress, parameters, compare, pair)


def page_at(path: str) -> ModuleType | None:
    """The view at an address; None if there is none."""
    if trial.ADDRESS.fullmatch(path):
        return trial
    return next((page for page in PAGES if path == page.PATH), None)
