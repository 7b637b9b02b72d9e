"""When a trial is not worth its next epoch, by Pareto dominance; knows neither Ray nor Optuna.

Two questions are asked of a trial, both answered by what other trials of the sweep did. After every report:
if it went on as finished trials did from there, how likely would it reach the front? And at rungs a growing
number of epochs apart: how does it rank among all that came by? Trials are compared after the same share of
their trainings, which may have different numbers of epochs. Everything is decided from what trials reported,
in the order in which they did: equal reports give equal decisions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
            the one before, rounded up to whole epochs. A trial with fewer epochs than others has its rungs
            after the same shares of its training.
        chance: a trial whose chance of reaching the front is estimated at less than this ends, in [0, 1); at
            0 none does.
        revive: whether a trial that ended by these rules is taken up again once they would let it go on.
        longest: the most epochs that a trial of the sweep has, in which rungs are counted; None (default) if
            all have the same number.
    """

    reduction: float = 2.0
    grace: int = 2
    chance: float = 0.25
    revive: bool = False
    longest: int | None = None

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
        rung, scale = float(self.grace), epochs / (self.longest or epochs) if epochs else 1.0
        while (epoch := math.ceil(rung * scale - 1e-9)) < epochs:
            found.append(epoch)
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


def places(losses: ArrayLike) -> NDArray[np.int64]:
    """How many rows are ahead of each: those of better fronts, and on its own those that spread better.

    The ranking of multi-objective asynchronous successive halving (Schmucker et al. 2021, MO-ASHA).

    Args:
        losses: shape (n, d), finite.

    Returns:
        int64, shape (n,): 0 to n - 1, each once.
    """
    table = np.asarray(losses, dtype=float)
    fronts = layers(table)
    found = np.empty(len(table), dtype=np.int64)
    ahead = 0
    for front in range(int(fronts.max(initial=-1)) + 1):
        own = np.flatnonzero(fronts == front)
        found[own[spread(table[own])]] = ahead + np.arange(len(own))
        ahead += len(own)
    return found


@dataclass
class ParetoHalving:
    """Decides, report by report, which trials end early.

    Losses are what is minimised: first the quality's (:meth:`trainables.metrics.Quality.loss`), such as one
    minus the accuracy, then the costs, such as log2 of the bytes, which are known before training but for
    what coding gains by it.

    A trial that was ended (:meth:`stop`) may be taken up again as another one (:meth:`promising`,
    :meth:`take_up`), as trials are promoted in asynchronous successive halving (Li et al. 2020, ASHA,
    algorithm 2): what it reported counts as that one's.

    Attributes:
        rules: how strict to be.
        shrinking: whether the first loss is what the quality lacks of the best there can be, so at least 0:
            training makes it smaller by a factor. Else it may be any number, and training takes something
            off it. Default True.
    """

    rules: Rules
    shrinking: bool = True
    _shown: dict[int, dict[int, dict[str, tuple[float, ...]]]] = field(default_factory=dict)
    """Epochs of a whole training -> epoch -> what trials reported then, in the order in which they did."""
    _ends: dict[str, tuple[float, ...]] = field(default_factory=dict)
    _last: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Trial -> epoch of its last report, epochs of its whole training."""
    _stopped: dict[str, None] = field(default_factory=dict)
    _allowed: dict[str, int] = field(default_factory=dict)
    """Trial that was taken up -> epoch up to which it has been judged."""

    def report(self, trial: str, epoch: int, losses: Sequence[float], *, epochs: int) -> str:
        """Why ``trial`` should end now; an empty string where it should go on.

        Args:
            trial: its name.
            epoch: epochs done, from 0 for the untrained student to ``epochs``.
            losses: of the student as it would be shipped now; finite, the first at least 0 if shrinking.
            epochs: of its whole training.
        """
        own = tuple(float(loss) for loss in losses)
        if not all(map(math.isfinite, own)) or (self.shrinking and own[0] < 0):
            least = " and the first at least 0" if self.shrinking else ""
            raise ValueError(f"losses must be finite{least}, got {own} of trial {trial}")
        if epoch >= epochs:
            self._ends[trial] = own
            return ""
        self._shown.setdefault(epochs, {}).setdefault(epoch, {})[trial] = own
        self._last[trial] = epoch, epochs
        if epoch <= self._allowed.get(trial, -1):
            return ""
        shown = self._shown_by(epoch, epochs)
        reason = self._by_chance(own, epoch, shown)
        if not reason and epoch in self.rules.rungs(epochs):
            reason = self._by_rank(trial, shown, epoch)
        return reason

    def stop(self, trial: str) -> None:
        """``trial`` has ended by these rules; one that they have heard nothing of is left alone."""
        if trial in self._last:
            self._stopped[trial] = None

    def promising(self) -> str | None:
        """The stopped trial that should go on first, of those that would not be ended by what is known now.

        That is one that came farthest, and of these the best by rank.
        """
        if not self.rules.revive:
            return None
        groups: dict[tuple[int, int], list[str]] = {}
        for trial in self._stopped:
            groups.setdefault(self._last[trial], []).append(trial)
        for epoch, epochs in sorted(groups, key=lambda each: (each[0] / each[1], *each), reverse=True):
            shown = self._shown_by(epoch, epochs)
            group = groups[epoch, epochs]
            found, _, _ = self._chances([shown[trial] for trial in group], epoch, shown)
            able = [trial for trial, chance in zip(group, found, strict=True) if chance >= self.rules.chance]
            if not able:
                continue
            ranked = dict(zip(shown, places(list(shown.values())).tolist(), strict=True))
            best = min(able, key=ranked.__getitem__)
            if epoch not in self.rules.rungs(epochs) or not self._by_rank(best, shown, epoch, ranked[best]):
                return best
        return None

    def take_up(self, trial: str, name: str) -> None:
        """The stopped ``trial`` goes on as the trial ``name``, which is not ended where ``trial`` was.

        Saying so again changes nothing.
        """
        if trial not in self._stopped:
            return
        del self._stopped[trial]
        for by_epoch in self._shown.values():
            for epoch, shown in by_epoch.items():
                if trial in shown:  # in the same place: ties are broken by the order of reports
                    by_epoch[epoch] = {name if k == trial else k: value for k, value in shown.items()}
        self._last[name] = self._last.pop(trial)
        self._allowed[name] = self._last[name][0]

    def _shown_by(self, epoch: int, epochs: int) -> dict[str, tuple[float, ...]]:
        """What trials showed after the share of their trainings that ``epoch`` is of ``epochs``.

        Of those of as many epochs what they reported then; of others, if they have reported or finished on
        both sides of it, what lies between these in the same ratio.
        """
        found = dict(self._shown[epochs][epoch])
        for other, by_epoch in self._shown.items():
            if other == epochs:
                continue
            before, rest = divmod(epoch * other, epochs)
            first = by_epoch.get(before, {})
            after = by_epoch.get(before + 1, {}) if before + 1 < other else self._ends
            for trial, then in first.items():
                if not rest:
                    found[trial] = then
                elif trial in after:
                    pairs = zip(then, after[trial], strict=True)
                    found[trial] = tuple(one + (two - one) * rest / epochs for one, two in pairs)
        return found

    def _chances(
        self, losses: ArrayLike, epoch: int, shown: Mapping[str, tuple[float, ...]]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
        """See :func:`chances`: of students after ``epoch``, by the finished trials then and at their ends.

        ``shown`` is what all of them showed then.
        """
        names = [name for name in self._ends if name in shown]
        then, ends = [shown[name] for name in names], [self._ends[name] for name in names]
        return chances(losses, then, ends, untrained=epoch == 0, shrinking=self.shrinking)

    def _by_chance(self, own: tuple[float, ...], epoch: int, shown: Mapping[str, tuple[float, ...]]) -> str:
        """Whether enough finished trials got from where this one is to where it would have to get.

        See :func:`chances`.
        """
        (chance,), (lucky,), (count,) = self._chances([own], epoch, shown)
        if chance >= self.rules.chance:
            return ""
        share = f"{100 * chance:.0f} %: {lucky or 'none'} of {count}"
        if epoch == 0:
            return (
                f"untrained, its chance of reaching the front is about {share} students at least as large "
                "ended better than the best smaller one"
            )
        return (
            f"after epoch {epoch}, its chance of reaching the front is about {share} finished students "
            "improved from there as much as it would have to"
        )

    def _by_rank(
        self, trial: str, rung: Mapping[str, tuple[float, ...]], epoch: int, place: int | None = None
    ) -> str:
        """Asynchronous successive halving: one in so many of all that came by goes on.

        A trial is never ended by its rank while nobody dominates it. ``place`` is its place among the
        ``rung``, if that is known already.
        """
        table, own = np.array(list(rung.values())), rung[trial]
        dominated = (table <= own).all(axis=1) & (table < own).any(axis=1)
        if not dominated.any():
            return ""
        if place is None:
            place = int(places(table)[list(rung).index(trial)])
        if place < len(table) / self.rules.reduction:
            return ""
        return (
            f"after epoch {epoch}, it is number {place + 1} of {len(table)} students by Pareto rank, "
            f"of which one in {self.rules.reduction:g} goes on"
        )


def chances(
    losses: ArrayLike, then: ArrayLike, ends: ArrayLike, *, untrained: bool, shrinking: bool = True
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """How likely students reach the front, from what finished ones did.

    To reach it a student must end better than the best finished one that is no larger; where there is none,
    its chance is 1. Of n finished ones, k show that it could: before training those at least as large that
    ended that well, since larger students can do at least what this one can; later those whose loss, from
    this epoch to their end, shrank by the factor that its own would have to, or where losses have no least
    value fell as far. Were it drawn like them, it
    would be as lucky with a chance of (k + 1) / (n + 2): Laplace's rule of succession, so that few prove
    little.

    Args:
        losses: shape (m, d): quality's first, then costs, which may still gain by coding as much as they did
            for any that finished.
        then: of the finished ones at the same epoch, shape (n, d).
        ends: of them at their ends, same shape.
        untrained: whether that epoch is the one before training.
        shrinking: whether 0 is the least value of the first loss; default True.

    Returns:
        The chance, k and n of each, shape (m,).
    """
    own = np.asarray(losses, dtype=float)
    shape = (-1, own.shape[1])
    before, after = np.reshape(then, shape), np.reshape(ends, shape)
    gained = np.minimum((after[:, 1:] - before[:, 1:]).min(axis=0, initial=0.0), 0.0)
    costs = (own[:, 1:] + gained)[:, None]
    smaller = (after[:, 1:] <= costs).all(axis=2)
    wanted = np.where(smaller, after[:, 0], math.inf).min(axis=1, initial=math.inf)[:, None]
    if untrained:
        counted, reached = (after[:, 1:] >= costs).all(axis=2), after[:, 0]
    else:
        carried = _carried if shrinking else _moved
        counted, reached = np.ones(smaller.shape, dtype=bool), carried(own[:, 0], before[:, 0], after[:, 0])
    lucky, count = (counted & (reached < wanted)).sum(axis=1), counted.sum(axis=1)
    return np.where(smaller.any(axis=1), (lucky + 1) / (count + 2), 1.0), lucky, count


def _carried(
    losses: NDArray[np.float64], then: NDArray[np.float64], ends: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Each of ``losses``, a row, multiplied as others were from ``then`` to ``ends``; 0 stays 0."""
    factors = np.divide(ends, then, out=np.full_like(ends, math.inf), where=then > 0)
    factors[(then == 0) & (ends == 0)] = 1.0
    own = losses[:, None]
    return np.multiply(own, factors, out=np.zeros((len(own), len(factors))), where=own > 0)


def _moved(
    losses: NDArray[np.float64], then: NDArray[np.float64], ends: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Each of ``losses``, a row, moved as far as others were from ``then`` to ``ends``."""
    return losses[:, None] + (ends - then)
