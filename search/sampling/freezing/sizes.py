"""What students will cost, told before they train, and how long that takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from search.sampling.freezing.courses import Course
from search.sampling.freezing.outline import Outline
from search.sampling.freezing.regression import Ridge, Smooth

Array = NDArray[np.float64]

SPREAD = 0.05
"""Least deviation of what is said of a cost, in doublings."""

FIRST, GAINED, OTHER = 0.1, 0.02, 1.0
"""Variances of what a rule of thumb is wrong by, of what training changes, and of costs without a rule."""

SECONDS, START = 1.0, 0.3
"""Of an epoch and of a beginning, as long as nothing was seen: only their ratio matters."""


class Told(NamedTuple):
    """What is said of a cost: its logarithm to base 2 at the end, and the deviation of that."""

    values: Array
    deviation: float


class Cost:
    """One cost of students that have not trained, or not to their ends.

    A size begins with a rule of thumb; what untrained students showed corrects it, and what students gained
    by their ends, as coding saves more once weights are trained, is told apart from that.

    Args:
        column: of the cost in the reports.
        size: whether the rule of thumb of :class:`Outline` is about it.
        limited: whether it is one of those that are limited only.
    """

    def __init__(self, column: int, size: bool, limited: bool = False) -> None:
        self._column, self._size, self._limited = column, size, limited
        self._first = self._gain = Smooth(np.zeros((0, 0)), np.zeros(0), 1.0)
        self._deviation = 1.0
        self.known = size

    def learn(self, courses: Sequence[Course], inputs: Array) -> None:
        """Learn from all that reported; ``inputs`` has a row for each."""
        first, gains, rows, ends = list[float](), list[float](), list[int](), list[int]()
        for row, course in enumerate(courses):
            known, last = self._first_of(course), self._of(course, -1)
            if not math.isfinite(known):
                continue
            rows.append(row)
            first.append(known - self._rule(course.candidate.outline))
            if course.state in ("finished", "earlier") and math.isfinite(last):
                ends.append(row)
                gains.append(last - known)
        self.known = self._size or bool(rows)
        self._first = Smooth(inputs[rows], np.array(first), FIRST if self._size else OTHER)
        self._gain = Smooth(inputs[ends], np.array(gains), GAINED)
        if len(rows) > 8:
            left = np.array(first) - self._first.at(inputs[rows])
            self._deviation = max(float(left.std()), SPREAD)

    def told(self, inputs: Array, outlines: Sequence[Outline], courses: Sequence[Course | None]) -> Told:
        """What is said of students; of those that reported, what they reported and what they will gain."""
        values = self._first.at(inputs) + np.array([self._rule(outline) for outline in outlines])
        gain = self._gain.at(inputs)
        for row, course in enumerate(courses):
            if course is None or not course.reports:
                continue
            last = self._of(course, -1)
            known = last if math.isfinite(last) else self._first_of(course)
            if math.isfinite(known):
                values[row] = known
                gain[row] *= 1 - course.epoch / course.epochs if course.epochs else 0.0
        return Told(values + gain, self._deviation)

    def _first_of(self, course: Course) -> float:
        """What the untrained student told, or whoever told it first."""
        return next(
            (value for k in range(len(course.reports)) if math.isfinite(value := self._of(course, k))),
            math.nan,
        )

    def _of(self, course: Course, report: int) -> float:
        found = course.reports[report]
        return (found.limited if self._limited else found.costs)[self._column]

    def _rule(self, outline: Outline) -> float:
        return outline.log2_bytes if self._size else 0.0


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
