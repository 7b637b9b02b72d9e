"""The range of a number: one declaration is its check, its row in the documentation and its search space."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Literal


class Varying(ABC):
    """A number that changes while a student trains; a range holds it at both of its bounds."""

    @abstractmethod
    def bounds(self) -> tuple[float, float]:
        """Its smallest and largest value."""


@dataclass(frozen=True)
class Range:
    """What a field or an argument accepts, and what a search tries: ``Annotated[int, Range(1, 8)]``.

    A field of a :class:`~trainables.part.Part` is checked when the part is made. None is always accepted
    where the field's type has it.

    Attributes:
        low: the least value that is accepted.
        high: the greatest.
        search: what a search tries, within what is accepted; None (default) is searched only where a study
            or a user gives a range.
        log: whether a search treats ratios, not differences, as equal; for numbers above 0.
        doubling: whether a search draws the logarithm to base 2, a whole number.
        smaller: the end at which packed files are smaller, ``low`` or ``high``; None (default) where their
            size does not depend on it.
        name: of the search parameter, which parts with the same name share; None (default) names it after
            the argument and the field, such as ``quantizer.bits``.
        excluded: the end that is itself not accepted: ``low``, ``high`` or None (default).
    """

    low: float
    high: float
    search: tuple[float, float] | None = None
    log: bool = False
    doubling: bool = False
    smaller: Literal["low", "high"] | None = None
    name: str | None = None
    excluded: Literal["low", "high"] | None = None

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ValueError(f"low must be at most high, got low={self.low} and high={self.high}")
        if (self.log or self.doubling) and self.low < 0:
            raise ValueError(f"a range searched by its logarithm must not be negative, got low={self.low}")
        if self.search is not None:
            self.check_search("search", self.search)

    def accepts(self, value: float) -> bool:
        """Whether a number is in the range."""
        low = self.low < value if self.excluded == "low" else self.low <= value
        high = value < self.high if self.excluded == "high" else value <= self.high
        return low and high

    def check(self, name: str, value: Any) -> None:
        """Raise ``ValueError`` naming the value unless it is in the range, or None."""
        if value is None:
            return
        varying = not isinstance(value, (int, float)) and isinstance(value, Varying)
        if not all(map(self.accepts, value.bounds() if varying else (value,))):
            raise ValueError(f"{name} must {'stay' if varying else 'be'} in {self}, got {name}={value}")

    def check_search(self, name: str, search: tuple[float, float]) -> None:
        """Raise ``ValueError`` unless ``search`` are two ends, in order, that a search can go through.

        Args:
            name: for the message.
            search: smallest and largest value.
        """
        low, high = search
        if not (self.accepts(low) and self.accepts(high) and low <= high):
            raise ValueError(f"{name} must be two ascending numbers in {self}, got {name}={low:g}:{high:g}")
        if self.log and low <= 0:
            raise ValueError(f"{name} is searched by its logarithm and must be above 0, got {low:g}:{high:g}")
        if self.doubling and not all(end > 0 and math.log2(end).is_integer() for end in search):
            raise ValueError(f"{name} is searched in powers of two, got {name}={low:g}:{high:g}")

    def __str__(self) -> str:
        left, right = "(" if self.excluded == "low" else "[", ")" if self.excluded == "high" else "]"
        return f"{left}{_plain(self.low)}, {_plain(self.high)}{right}"


def _plain(end: float) -> str:
    """An end without the ``.0`` of a whole one.

    Ranges that are equal must read alike: ``typing`` keeps one ``Annotated`` for all equal ones, so that
    which of ``Range(0, 1)`` and ``Range(0.0, 1.0)`` a field has depends on what was imported first.
    """
    return f"{int(end)}" if float(end).is_integer() else f"{end}"
