"""What all rules of the grammar share: a thing said in two languages, and seeded choice."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

Item = TypeVar("Item")


class Words(NamedTuple):
    """The same in both languages."""

    german: str
    english: str


NOTHING = Words("", "")


class Draw:
    """Seeded choice that is the same in every version of Python.

    Of the standard generator only ``random()`` promises the same stream for ever; choosing and
    shuffling do not, so they are written out here.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def below(self, count: int) -> int:
        """Uniform on 0, ..., count - 1."""
        return int(self._random.random() * count)

    def between(self, low: int, high: int) -> int:
        """Uniform on low, ..., high."""
        return low + self.below(high - low + 1)

    def one(self, items: Sequence[Item]) -> Item:
        """One of ``items``."""
        return items[self.below(len(items))]

    def chance(self, probability: float) -> bool:
        """True with ``probability``."""
        return self._random.random() < probability

    def some(self, items: Sequence[Item], count: int) -> list[Item]:
        """``count`` different ``items``."""
        rest = list(items)
        return [rest.pop(self.below(len(rest))) for _ in range(count)]


def join(*parts: str) -> str:
    """The parts that say something, with a space between."""
    return " ".join(part for part in parts if part)


def sentence(german: str, english: str, mark: str = ".") -> Words:
    """Both with a capital letter in front and ``mark`` behind."""
    return Words(*(f"{text[0].upper()}{text[1:]}{mark}" for text in (german, english)))
