"""What varies over training: ``progress`` in [0, 1] -> float."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

from trainables.part import Part
from trainables.ranges import Varying


class Schedule(Part, Varying):
    """A function of training progress; it only rises, or only falls."""

    @abstractmethod
    def __call__(self, progress: float) -> float:
        """Value at ``progress`` in [0, 1]."""

    def bounds(self) -> tuple[float, float]:
        """Its smallest and largest value, which are at its ends."""
        ends = self(0.0), self(1.0)
        return min(ends), max(ends)

    @abstractmethod
    def rest(self) -> Schedule:
        """What it leaves of 1 at each moment."""


@dataclass(frozen=True)
class Constant(Schedule):
    """The same ``value`` throughout."""

    value: float = 1.0

    def __call__(self, progress: float) -> float:
        return self.value

    def rest(self) -> Constant:
        return Constant(1.0 - self.value)


@dataclass(frozen=True)
class Linear(Schedule):
    """A straight line from ``start`` to ``end``; teacher annealing is ``Linear(1, 0)`` (BAM, 2019)."""

    start: float = 1.0
    end: float = 0.0

    def __call__(self, progress: float) -> float:
        return self.start + (self.end - self.start) * progress

    def rest(self) -> Linear:
        return Linear(1.0 - self.start, 1.0 - self.end)


@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine from ``start`` to ``end`` (SGDR without restarts, Loshchilov & Hutter 2017)."""

    start: float = 1.0
    end: float = 0.0

    def __call__(self, progress: float) -> float:
        return self.end + (self.start - self.end) * 0.5 * (1.0 + math.cos(math.pi * progress))

    def rest(self) -> Cosine:
        return Cosine(1.0 - self.start, 1.0 - self.end)


@dataclass(frozen=True)
class Cubic(Schedule):
    """Gradual pruning's ramp (Zhu & Gupta 2017, eq. 1).

    ``start`` until progress ``begin``, then ``end + (start - end) * (1 - t)^3`` with ``t`` running
    from 0 to 1 between ``begin`` and ``finish``, then ``end``. ``begin < finish``, both in [0, 1].
    """

    start: float = 0.0
    end: float = 0.5
    begin: float = 0.0
    finish: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= self.begin < self.finish <= 1.0:
            raise ValueError(
                "begin and finish must satisfy 0 <= begin < finish <= 1, "
                f"got begin={self.begin}, finish={self.finish}"
            )

    def __call__(self, progress: float) -> float:
        t = min(max((progress - self.begin) / (self.finish - self.begin), 0.0), 1.0)
        return self.end + (self.start - self.end) * (1.0 - t) ** 3

    def rest(self) -> Cubic:
        return Cubic(1.0 - self.start, 1.0 - self.end, self.begin, self.finish)


def constant(value: float) -> Schedule:
    """The schedule that a number stands for."""
    return Constant(value)


SCHEDULES: tuple[type[Schedule], ...] = (Constant, Linear, Cosine, Cubic)
