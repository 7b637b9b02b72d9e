"""How far a long reading has come, told every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable

TELL_SECONDS = 3.0
"""At least so long lies between two lines, and before the first."""

Tell = Callable[[str], None]
"""Hears a few words about what is happening."""


class Teller:
    """Says ``decoding images: 12,000 of 55,000``.

    Args:
        tell: is told.
        what: is being done.
        total: how many there are.
    """

    def __init__(self, tell: Tell, what: str, total: int) -> None:
        self._tell, self._what, self._total = tell, what, total
        self._told = time.monotonic()

    def at(self, done: int) -> None:
        """So many are done."""
        now = time.monotonic()
        if now - self._told >= TELL_SECONDS:
            self._told = now
            self._tell(f"{self._what}: {done:,} of {self._total:,}")
