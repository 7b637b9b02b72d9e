"""What the model makes of a sweep's log at one moment of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from search.objectives.costs import PACKED, doublings
from search.sampling.freezing.candidates import Candidate, Candidates
from search.sampling.freezing.courses import Course, Measure
from search.sampling.freezing.gain import Front, expected_gains, unscaled
from search.sampling.freezing.process import Posterior, Rows
from search.sampling.freezing.sizes import Column, Cost, Size, Time

Array = NDArray[np.float64]

LEARNT = 400
"""Trials, the latest, of which it is learnt what others cost and how long they take."""


class View:
    """The model at one moment of the log."""

    def __init__(
        self,
        measure: Measure,
        candidates: Candidates,
        posterior: Posterior,
        courses: Sequence[Course],
        cached: frozenset[str],
        least: float,
        price: float = 0.0,
    ) -> None:
        yardstick = measure.yardstick
        self._measure, self._candidates, self._posterior = measure, candidates, posterior
        self._cached, self._price = cached, price
        self._costs = [_told_by(name, Column(k)) for k, name in enumerate(yardstick.costs)]
        self._limits = [
            (_told_by(name, Column(k, limited=True)), doublings(yardstick.budget.limits[name]))
            for k, name in enumerate(measure.limited)
        ]
        self._time = Time()
        latest = courses[-LEARNT:]
        inputs = self._inputs([course.candidate for course in latest])
        own = [(course, k) for k, course in enumerate(latest) if course.state != "earlier"]
        self._time.learn([course for course, _ in own], inputs[[k for _, k in own]])
        self._training = self._usual_training([course.candidate for course in latest], inputs)
        for cost in (*self._costs, *(cost for cost, _ in self._limits)):
            cost.learn(latest, inputs)
        done = [course for course in courses if course.state == "finished" and _is_whole(course)]
        done = [course for course in done if self._is_within(course)]
        costs = np.array([course.reports[-1].costs for course in done]).reshape(-1, len(self._costs))
        seen = np.array([r.costs for c in courses for r in (c.reports[0], c.reports[-1])]).reshape(
            -1, len(self._costs)
        )
        reference = measure.reference(seen)
        worths = np.array([c.reports[-1].worth for c in done])
        self._front = Front(worths, costs, reference, least, measure.best(worths, least))

    def front(self, running: Sequence[Course]) -> Front:
        """The front with trials that run where they are expected to end."""
        if not running:
            return self._front
        candidates = [course.candidate for course in running]
        means, _ = self._predicted(candidates, running)
        costs, _ = self._told(candidates, running)
        return self._front.with_students(unscaled(means), costs)

    def index(self, candidates: Sequence[Candidate], courses: Sequence[Course | None], front: Front) -> Array:
        """Expected gain of hypervolume of each student's end, per second that it still costs."""
        gains, seconds, _ = self.expected(candidates, courses, front)
        return gains / seconds

    def expected(
        self, candidates: Sequence[Candidate], courses: Sequence[Course | None], front: Front
    ) -> tuple[Array, Array, Array]:
        """What n students are expected to do.

        Returns:
            The gains of hypervolume of their ends; the seconds that they still cost, with the price of a
            beginning; the means and deviations of their qualities, on the scale of the process, shape (n, 2).
        """
        means, deviations = self._predicted(candidates, courses)
        costs, likely = self._told(candidates, courses)
        gains = expected_gains(front, costs, means, deviations) * likely
        return gains, self._left(candidates, courses), np.column_stack([means, deviations])

    def shares(self, candidates: Sequence[Candidate], courses: Sequence[Course | None]) -> Array:
        """Of each student's training what it has still to do, in [0, 1]."""
        whole = np.array([each.epochs for each in candidates])
        return np.asarray(self._epochs(candidates, courses) / np.maximum(whole, 1))

    def _epochs(self, candidates: Sequence[Candidate], courses: Sequence[Course | None]) -> Array:
        """Epochs that students have still to train."""
        found = np.empty(len(candidates))
        for row, (candidate, course) in enumerate(zip(candidates, courses, strict=True)):
            done = 0 if course is None else course.epoch
            if not done and candidate.prefix in self._cached:  # taken over before the first epoch alone
                done = candidate.shared
            found[row] = candidate.epochs - done
        return found

    def _left(self, candidates: Sequence[Candidate], courses: Sequence[Course | None]) -> Array:
        inputs, whole = self._inputs(candidates), np.array([each.epochs for each in candidates])
        begins = np.array([course is None or course.state != "running" for course in courses])
        of_epochs = self._time.of_epochs(inputs)
        # What does not train at all has the price of what does: else all trials would be spent on it.
        price = self._price * np.where(whole > 0, whole * of_epochs, self._training)
        seconds = self._epochs(candidates, courses) * of_epochs + begins * (price + self._time.start)
        return np.maximum(seconds, 1e-3)

    def _usual_training(self, candidates: Sequence[Candidate], inputs: Array) -> float:
        """Seconds of the median of trainings; those of a beginning as long as nothing trained."""
        whole = np.array([each.epochs for each in candidates])
        seconds = whole * self._time.of_epochs(inputs)
        return float(np.median(seconds[whole > 0])) if (whole > 0).any() else self._time.start

    def _predicted(
        self, candidates: Sequence[Candidate], courses: Sequence[Course | None]
    ) -> tuple[Array, Array]:
        ends = np.array([each.end for each in candidates])
        rows = rows_of(courses, candidates, ends, self._candidates.points(candidates))
        means, deviations = np.empty(len(ends)), np.empty(len(ends))
        for end in np.unique(ends):  # of equal moments much less is computed
            those = np.flatnonzero(ends == end)
            means[those], deviations[those] = self._posterior.predict(rows[those])
        return means, deviations

    def _told(self, candidates: Sequence[Candidate], courses: Sequence[Course | None]) -> tuple[Array, Array]:
        """Costs at the end, and how likely those that are limited only keep their limits."""
        outlines = [each.outline for each in candidates]
        inputs = self._inputs(candidates)
        told = [cost.told(inputs, outlines, courses).values for cost in self._costs]
        likely = np.ones(len(candidates))
        for cost, limit in self._limits:
            values, deviation = cost.told(inputs, outlines, courses)
            if cost.known:
                likely *= ndtr((limit - values) / deviation)
        return np.column_stack(told), likely

    def _inputs(self, candidates: Sequence[Candidate]) -> Array:
        return np.array([self._candidates.place(each).inputs for each in candidates]).reshape(
            len(candidates), -1
        )

    def _is_within(self, course: Course) -> bool:
        """Whether a finished student keeps the limits of costs that are no objective."""
        limited = course.reports[-1].limited
        return all(not value > limit for value, (_, limit) in zip(limited, self._limits, strict=True))


def _told_by(name: str, column: Column) -> Cost | Size:
    """What tells a cost."""
    return Size(column) if name == PACKED else Cost(column)


def _is_whole(course: Course) -> bool:
    return bool(np.isfinite(course.reports[-1].costs).all())


def rows_of(
    courses: Sequence[Course | None], candidates: Sequence[Candidate], moments: Array, points: Array
) -> Rows:
    """Rows of students at ``moments``; where there is no course, it is a student of its own."""
    trials = [-(10**9) - k if course is None else course.number for k, course in enumerate(courses)]
    late = moments > np.array([each.turn for each in candidates]) + 1e-9
    kin = np.array([each.kin for each in candidates], dtype=np.int64)
    sizes = np.array([each.outline.log2_bytes for each in candidates])
    return Rows(points, sizes, moments, np.array(trials, dtype=np.int64), kin, late)


def joined(one: Rows, other: Rows) -> Rows:
    return Rows(
        np.vstack([one.points, other.points]),
        np.r_[one.sizes, other.sizes],
        np.r_[one.moments, other.moments],
        np.r_[one.trials, other.trials],
        np.r_[one.kin, other.kin],
        np.r_[one.late, other.late],
    )
