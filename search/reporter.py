"""Who hears of a sweep's progress."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from search.tracking.record import Record


class Watcher(Protocol):
    """Someone who wants to know how the sweep goes."""

    def changed(self, records: Mapping[str, Record]) -> None:
        """Called when a trial started, reported or ended."""
        ...


class Reporter(Watcher, Protocol):
    """A watcher that also hears of what comes before and after the trials."""

    def say(self, text: str) -> None:
        """What is happening now, in a few words."""
        ...

    def remark(self, text: str) -> None:
        """What the user should still see when other things are happening."""
        ...
