"""When a trial is not worth its next epoch, by Pareto dominance; knows neither Ray nor Optuna.

A trial is ended before it trains if its size, known by then, leaves it no chance of reaching the front, and
at rungs a growing number of epochs apart if its rank among all trials that came by is too low. Everything is
decided from what trials reported, in the order in which they did: equal reports give equal decisions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Rules:
    """How strict to be.

    Attributes:
        reduction: one in how many trials goes on at a rung, above 1.
        grace: epochs before the first rung, at least 1; each further rung is ``reduction`` times as far as
            the one before, rounded up to whole epochs.
        chance: a trial whose chance of reaching the front is estimated at less than this ends before it
            trains, in [0, 1); at 0 none does.
    """

    reduction: float = 3.0
    grace: int = 1
    chance: float = 0.1

    def __post_init__(self) -> None:
        if not self.reduction > 1:
            raise ValueError(f"reduction must be above 1, got reduction={self.reduction}")
        if self.grace < 1:
            raise ValueError(f"grace must be at least 1, got grace={self.grace}")
        if not 0 <= self.chance < 1:
            raise ValueError(f"chance must be in [0, 1), got chance={self.chance}")

    def rungs(self, epochs: int) -> tuple[int, ...]:
        """Epochs after which trials of ``epochs`` epochs are compared, all before the last."""
        found: list[int] = []
        rung = float(self.grace)
        while math.ceil(rung) < epochs:
            found.append(math.ceil(rung))
            rung *= self.reduction
        return tuple(dict.fromkeys(found))


def layers(losses: ArrayLike) -> NDArray[np.int64]:
    """Number of the front that each row is on: 0 if no row dominates it, 1 if only rows of front 0 do, ...

    Non-dominated sorting (Deb et al. 2002, NSGA-II, section III.A). A row dominates another if it is nowhere
    larger and somewhere smaller; equal rows are on the same front.

    Args:
        losses: shape (n, d), finite; less is better.

    Returns:
        int64, shape (n,).
    """
    table = np.asarray(losses, dtype=float)
    if table.shape[1] == 1:
        return np.unique(table[:, 0], return_inverse=True)[1].astype(np.int64)
    return np.asarray(moocore.pareto_rank(table), dtype=np.int64)


def spread(losses: ArrayLike) -> list[int]:
    """Row numbers, the ones that cover the rest best first: an epsilon-net (Salinas et al. 2021, section 3).

    It begins with the row of the smallest first loss, and goes on with the row that is farthest from all
    before it; of equally far ones the earlier. Each column counts by its range.

    Args:
        losses: shape (n, d), finite.
    """
    table = np.asarray(losses, dtype=float)
    if not len(table):
        return []
    span = np.ptp(table, axis=0)
    scaled = (table - table.min(axis=0)) / np.where(span > 0, span, 1.0)
    order = [int(np.argmin(scaled[:, 0]))]
    distance = np.linalg.norm(scaled - scaled[order[0]], axis=1)
    while len(order) < len(table):
        distance[order] = -1.0
        farthest = int(np.argmax(distance))
        order.append(farthest)
        distance = np.minimum(distance, np.linalg.norm(scaled - scaled[farthest], axis=1))
    return order


def place_of(losses: ArrayLike, row: int) -> int:
    """How many rows are ahead of ``row``: those of better fronts, and on its own those that spread better.

    The ranking of multi-objective asynchronous successive halving (Schmucker et al. 2021, MO-ASHA).

    Args:
        losses: shape (n, d), finite.
        row: in [0, n).
    """
    table = np.asarray(losses, dtype=float)
    fronts = layers(table)
    own = np.flatnonzero(fronts == fronts[row])
    order = own[spread(table[own])]
    return int((fronts < fronts[row]).sum()) + int(np.flatnonzero(order == row)[0])


@dataclass
class _Course:
    """What a trial showed: its losses untrained, and at its end once it has finished."""

    first: tuple[float, ...]
    last: tuple[float, ...] | None = None


@dataclass
class ParetoHalving:
    """Decides, report by report, which trials end early.

    Losses are what is minimised, the quality's first and then the costs, such as the negative accuracy and
    log2 of the bytes. Costs are known before training but for what coding gains by it.

    A trial that has not reached the phase it ends in, such as a distilled student whose levels are yet to be
    learned, would be shipped worse now than students that are quantized already, and says little of its end:
    at a rung it is compared with trials in the same state alone.

    Attributes:
        rules: how strict to be.
    """

    rules: Rules
    _courses: dict[str, _Course] = field(default_factory=dict)
    _rungs: dict[tuple[int, bool], dict[str, tuple[float, ...]]] = field(default_factory=dict)

    def report(
        self, trial: str, epoch: int, losses: Sequence[float], *, epochs: int, settled: bool = True
    ) -> str:
        """Why ``trial`` should end now; an empty string where it should go on.

        Args:
            trial: its name.
            epoch: epochs done, from 0 for the untrained student to ``epochs``.
            losses: quality and costs of the student as it would be shipped now, finite.
            epochs: of its whole training.
            settled: whether it is in the last phase of its training.
        """
        shown = tuple(float(loss) for loss in losses)
        if not all(map(math.isfinite, shown)):
            raise ValueError(f"losses must be finite, got {shown} of trial {trial}")
        if epoch == 0:
            self._courses[trial] = _Course(shown)
            return self._before_training(shown)
        if epoch >= epochs:
            self._courses.setdefault(trial, _Course(shown)).last = shown
            return ""
        if epoch in self.rules.rungs(epochs):
            return self._at_rung(trial, epoch, shown, settled)
        return ""

    def _before_training(self, shown: tuple[float, ...]) -> str:
        """The chance that students of at least this size have had of beating the smaller ones.

        Among n finished students at least as large, k are better than the best one that is no larger than
        this trial. Were they and the trial drawn alike, the next would be as lucky with a chance of
        (k + 1) / (n + 2) (Laplace's rule of succession). Larger students can do at least what this one can,
        so that is an estimate from above.
        """
        finished = [course for course in self._courses.values() if course.last is not None]
        if not finished:
            return ""
        first = np.array([course.first for course in finished])[:, 1:]
        last = np.array([course.last for course in finished])
        # What coding may still gain: as much as it did for any other.
        own = np.array(shown[1:]) + np.minimum((last[:, 1:] - first).min(axis=0), 0.0)
        smaller = (last[:, 1:] <= own).all(axis=1)
        larger = (last[:, 1:] >= own).all(axis=1)
        if not smaller.any():
            return ""
        better = larger & (last[:, 0] < last[smaller, 0].min())
        count, lucky = int(larger.sum()), int(better.sum())
        chance = (lucky + 1) / (count + 2)
        if chance >= self.rules.chance:
            return ""
        return (
            f"its size leaves it a chance of {100 * chance:.0f} %: {lucky or 'none'} of {count} students at "
            "least as large beat the smaller ones"
        )

    def _at_rung(self, trial: str, epoch: int, shown: tuple[float, ...], settled: bool) -> str:
        rung = self._rungs.setdefault((epoch, settled), {})
        rung[trial] = shown
        table = list(rung.values())
        if not (np.array(table) <= shown).all(axis=1).sum() > table.count(shown):
            return ""  # nobody dominates it
        place = place_of(table, list(rung).index(trial))
        if place < len(table) / self.rules.reduction:
            return ""
        return (
            f"after epoch {epoch} it is number {place + 1} of {len(table)} students by Pareto rank, "
            f"of which one in {self.rules.reduction:g} goes on"
        )
