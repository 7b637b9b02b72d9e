"""What students will cost, told before they train, and how long that takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from search.sampling.freezing.courses import Course, Report
from search.sampling.freezing.outline import Outline
from search.sampling.freezing.regression import Ridge, Smooth

Array = NDArray[np.float64]

SPREAD = 0.05
"""Least deviation of what is said of a cost, in doublings."""

ENDS, GAINED, OTHER = 0.01, 0.02, 1.0
"""Variances of what an outline is wrong by, of what training changes, and of costs nobody knows yet."""

UNTRAINED = 0.3
"""Deviation of an untrained student's size from what it ends at, in doublings; at its end there is none."""

SECONDS, START = 1.0, 0.3
"""Of an epoch and of a beginning, as long as nothing was seen: only their ratio matters."""


class Told(NamedTuple):
    """What is said of a cost: its logarithm to base 2 at the end, and the deviation of that."""

    values: Array
    deviation: float


@dataclass(frozen=True)
class Column:
    """Where reports have a cost.

    Attributes:
        number: of its column.
        limited: whether it is one of those that are limited only.
    """

    number: int
    limited: bool = False

    def first(self, course: Course) -> float:
        """What the untrained student told, or whoever told it first; NaN if nobody has."""
        found = (self._of(report) for report in course.reports)
        return next((value for value in found if math.isfinite(value)), math.nan)

    def last(self, course: Course) -> float:
        """What was told last, or first if not since; NaN if never."""
        value = self._of(course.reports[-1]) if course.reports else math.nan
        return value if math.isfinite(value) else self.first(course)

    def _of(self, report: Report) -> float:
        return (report.limited if self.limited else report.costs)[self.number]


class Size:
    """The packed size of students that have not trained, or not to their ends.

    It begins with what the outline says of the trained student. That is corrected by what others showed, most
    by those that ended: coding saves more, or less, once weights are trained.

    Args:
        column: of the size in the reports.
    """

    known = True

    def __init__(self, column: Column) -> None:
        self._column = column
        self._error = Smooth(np.zeros((0, 0)), np.zeros(0), ENDS)
        self._deviation = 1.0

    def learn(self, courses: Sequence[Course], inputs: Array) -> None:
        """Learn from all that reported; ``inputs`` has a row for each."""
        shown = [self._column.last(course) for course in courses]
        rows = [row for row, value in enumerate(shown) if math.isfinite(value)]
        errors = np.array([shown[row] - courses[row].candidate.outline.log2_bytes for row in rows])
        left = np.array([UNTRAINED * (1 - _share(courses[row])) for row in rows])
        self._error = Smooth(inputs[rows], errors, ENDS, left * left)
        ended = left == 0
        if ended.sum() > 8:
            found = errors[ended] - self._error.at(inputs[rows][ended])
            self._deviation = max(float(found.std()), SPREAD)

    def told(self, inputs: Array, outlines: Sequence[Outline], courses: Sequence[Course | None]) -> Told:
        """What is said of students; of those that reported, what they reported and what is to come."""
        values = self._error.at(inputs) + np.array([outline.log2_bytes for outline in outlines])
        for row, course in enumerate(courses):
            if course is not None and math.isfinite(last := self._column.last(course)):
                values[row] = last + (1 - _share(course)) * (values[row] - self._column.first(course))
        return Told(values, self._deviation)


class Cost:
    """A cost without a rule: that of students nobody has seen is told by those that are like them.

    What students gained by their ends is told apart from that.

    Args:
        column: of the cost in the reports.
    """

    def __init__(self, column: Column) -> None:
        self._column = column
        self._first = self._gain = Smooth(np.zeros((0, 0)), np.zeros(0), 1.0)
        self._deviation = 1.0
        self.known = False

    def learn(self, courses: Sequence[Course], inputs: Array) -> None:
        """Learn from all that reported; ``inputs`` has a row for each."""
        shown = [self._column.first(course) for course in courses]
        rows = [row for row, value in enumerate(shown) if math.isfinite(value)]
        ends = [row for row in rows if courses[row].state in ("finished", "earlier")]
        first = np.array([shown[row] for row in rows])
        self.known = bool(rows)
        self._first = Smooth(inputs[rows], first, OTHER)
        gains = np.array([self._column.last(courses[row]) - shown[row] for row in ends])
        self._gain = Smooth(inputs[ends], gains, GAINED)
        if len(rows) > 8:
            self._deviation = max(float((first - self._first.at(inputs[rows])).std()), SPREAD)

    def told(self, inputs: Array, outlines: Sequence[Outline], courses: Sequence[Course | None]) -> Told:
        """What is said of students; of those that reported, what they reported and what they will gain."""
        values, gain = self._first.at(inputs), self._gain.at(inputs)
        for row, course in enumerate(courses):
            if course is not None and math.isfinite(last := self._column.last(course)):
                values[row] = last
                gain[row] *= 1 - _share(course)
        return Told(values + gain, self._deviation)


def _share(course: Course) -> float:
    """Of its training that a student has behind it."""
    return min(course.epoch / course.epochs, 1.0) if course.epochs else 1.0


class Time:
    """How long students take: seconds of an epoch, and of a beginning."""

    def __init__(self) -> None:
        self._epoch = Ridge(np.zeros((0, 0)), np.zeros(0), math.log(SECONDS))
        self.start = START

    def learn(self, courses: Sequence[Course], inputs: Array) -> None:
        """Learn from all that trained; ``inputs`` has a row for each."""
        rows = [row for row, course in enumerate(courses) if course.trained[0]]
        seconds = [courses[row].trained[1] / courses[row].trained[0] for row in rows]
        if len(rows) >= 3:
            self._epoch = Ridge(inputs[rows], np.log(np.maximum(seconds, 1e-4)))
        begun = [course.start for course in courses if math.isfinite(course.start)]
        if begun and rows:
            self.start = float(np.median(begun))
        elif rows:
            self.start = START * float(np.median(seconds))

    def of_epochs(self, inputs: Array) -> Array:
        """Seconds of an epoch of each student."""
        return np.exp(self._epoch.at(inputs))
