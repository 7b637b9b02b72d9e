"""What a sweep's log says of its trials, as the model sees it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from search.objectives.costs import doublings, measured
from search.objectives.front import POINT, worth
from search.objectives.yardstick import Yardstick
from search.sampling.freezing.candidates import Candidate

COUNTS = 0.75
"""Of the way from guessing to the teacher: from there on a student counts."""

State = Literal["running", "stopped", "finished", "failed", "over", "earlier"]


@dataclass(frozen=True)
class Report:
    """What a trial reported.

    Attributes:
        epoch: epochs done.
        worth: of its quality, in [0, 1].
        costs: logarithms to base 2 of what is minimised, NaN where it was not measured.
        limited: the same of what is limited and not minimised.
        seconds: since the trial began, NaN where it was not told.
    """

    epoch: int
    worth: float
    costs: tuple[float, ...]
    limited: tuple[float, ...]
    seconds: float


@dataclass(eq=False)
class Course:
    """A student in training, be it by one trial or by several that took it up.

    Attributes:
        number: of the first trial.
        candidate: its recipe.
        state: of its last trial; ``earlier`` of one that another sweep ran.
        reports: in their order, each epoch once.
        begun: epoch that its last trial began at; below 0 until it reported.
        trained: epochs whose seconds are known, and these.
        start: seconds of the first report; NaN until it is there.
        marked: places of the reports that count beside the last two.
    """

    number: int
    candidate: Candidate
    state: State = "running"
    reports: list[Report] = field(default_factory=list)
    begun: int = -1
    trained: tuple[int, float] = (0, 0.0)
    start: float = math.nan
    marked: list[int] = field(default_factory=list)

    @property
    def telling(self) -> list[int]:
        """Places of the reports that say most: those marked and the last two.

        What a student reported before its training counts where it knew something by then.
        """
        count = len(self.reports)
        if self._telling[0] != count:  # asked of every trial, for every decision
            found = sorted({*self.marked, count - 2, count - 1})
            known = self.candidate.knows
            self._telling = count, [p for p in found if p >= 0 and (known or self.reports[p].epoch)]
        return self._telling[1]

    @property
    def epochs(self) -> int:
        """Of its whole training."""
        return self.candidate.epochs

    @property
    def epoch(self) -> int:
        """How far it is; 0 as long as it has not reported."""
        return self.reports[-1].epoch if self.reports else 0

    def hear(self, report: Report) -> bool:
        """Take in what it reported; False where that was known."""
        if self.begun < 0:
            self.begun = report.epoch
            if not self.reports:
                self.start = report.seconds
            self._since = report
        elif report.epoch > self._since.epoch:
            more = report.seconds - self._since.seconds
            # Several epochs at once were not trained but taken over.
            if math.isfinite(more) and more > 0 and report.epoch == self._since.epoch + 1:
                self.trained = (self.trained[0] + 1, self.trained[1] + more)
            self._since = report
        if self.reports and report.epoch <= self.epoch:
            return False
        self.reports.append(report)
        return True

    _since: Report = field(init=False, repr=False)
    _telling: tuple[int, list[int]] = field(init=False, repr=False, default=(0, []))


@dataclass(frozen=True)
class Measure:
    """How results become reports.

    Attributes:
        yardstick: of the sweep, with what is known of the teacher.
    """

    yardstick: Yardstick

    @property
    def limited(self) -> tuple[str, ...]:
        """Costs that have a limit and are no objective."""
        return tuple(name for name in self.yardstick.budget.limits if name not in self.yardstick.costs)

    def able(self) -> str:
        """Why a model of this quality is not possible, as a clause; empty if it is."""
        quality = self.yardstick.quality
        if not quality.ranged and not math.isfinite(self.yardstick.teacher_validation):
            return (
                f"the teacher's {quality.label} was not measured, and {quality.label} has no scale without it"
            )
        return ""

    def report(self, result: Mapping[str, Any]) -> Report | None:
        """What is to be learnt of a result; None where its quality is no number."""
        value = result.get(self.yardstick.quality.validation)
        if not isinstance(value, int | float) or not math.isfinite(value):
            return None
        seconds = result.get("seconds", math.nan)
        return Report(
            int(result["epoch"]),
            self.worth(float(value)),
            tuple(self._cost(result, name) for name in self.yardstick.costs),
            tuple(self._cost(result, name) for name in self.limited),
            float(seconds) if isinstance(seconds, int | float) else math.nan,
        )

    def worth(self, value: float) -> float:
        """A quality in [0, 1]: without two ends, the teacher's is in the middle."""
        quality = self.yardstick.quality
        found = float(worth([value], quality, self.yardstick.teacher_validation)[0])
        return found if quality.ranged else found / 2

    def reference(self, seen: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of each cost the largest that counts, but no more than its limit.

        That is the teacher's or, if it is not known, twice the largest ``seen``.
        """
        found = []
        for column, name in enumerate(self.yardstick.costs):
            known = measured(self.yardstick.teacher, name)
            own = seen[:, column][np.isfinite(seen[:, column])]
            largest = float(own.max()) + 1.0 if len(own) else 1.0
            end = largest if known is None else doublings(known)
            limit = self.yardstick.budget.limits.get(name)
            found.append(end if limit is None else min(end, doublings(limit)))
        return np.array(found)

    def guess(self, untrained: NDArray[np.float64]) -> float:
        """The worth of a student that guesses.

        Args:
            untrained: worths of students before their training.
        """
        found = float(np.quantile(untrained, 0.25)) if len(untrained) else 0.0
        return min(found, 0.5 * self.known)

    def least(self, untrained: NDArray[np.float64]) -> float:
        """The worth from which on a student counts: :data:`COUNTS` of the way to the teacher's.

        Hardly anybody ships a student that loses more, and there are always smaller ones that do. A stricter
        limit of the loss counts in its place.

        Args:
            untrained: worths of students before their training.
        """
        guess = self.guess(untrained)
        found = guess + COUNTS * (self.known - guess)
        teacher, drop = self.yardstick.teacher_validation, self.yardstick.budget.max_drop
        if math.isfinite(teacher) and drop is not None:
            quality = self.yardstick.quality
            change = drop / quality.scale
            found = max(found, self.worth(teacher - change if quality.up else teacher + change))
        return min(found, 0.99)

    @property
    def known(self) -> float:
        """The teacher's worth; without a teacher the best there can be."""
        teacher = self.yardstick.teacher_validation
        return self.worth(teacher) if math.isfinite(teacher) else 1.0

    def best(self, worths: NDArray[np.float64], least: float) -> float:
        """The worth up to which a student counts the more: the teacher's, or a better one among ``worths``.

        Without a teacher the best there can be; and always above the ``least`` one.
        """
        return max(self.known, float(worths.max(initial=0.0)), least + POINT)

    def _cost(self, result: Mapping[str, Any], name: str) -> float:
        value = measured(result, name)
        return math.nan if value is None else doublings(value)
