"""What is kept of each sample, so that a quality of any draw of the samples follows from it. Loads no torch.

A draw has weights: how often each sample is in it. What a quality is of them is said here once, for all draws
at a time; :mod:`search.objectives.resampled` draws.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from trainables.metrics.samples import absolute_errors, ranks, squared_errors
from trainables.metrics.translation import ORDERS, bleu_counts, bleu_of_counts
from trainables.predictions import Answers, Classes, Table, fits

Weights = NDArray[np.float32]
"""How often each sample is in each draw, shape (samples, draws); whole numbers."""
Numbers = NDArray[np.float64]


class Evidence(ABC):
    """What decides a quality, sample by sample."""

    @final
    def table(self, outputs: Any, targets: Any) -> Table | None:
        """What is to be kept beside classes.

        Args:
            outputs: as the quality's own function takes them: of all samples, in their order.
            targets: likewise.

        Returns:
            None where classes are enough, where there is too much of it (see
            :func:`trainables.predictions.fits`), and where it has a number that is none.
        """
        numbers = self._numbers(outputs)
        if not fits(len(targets), numbers):
            return None
        found = self._rows(outputs, targets)
        return found if np.isfinite(found).all() else None

    @abstractmethod
    def _numbers(self, outputs: Any) -> int:
        """How many numbers a table has of each sample; 0 if there is none."""

    @abstractmethod
    def _rows(self, outputs: Any, targets: Any) -> Table:
        """The table of these samples."""

    @abstractmethod
    def decides(self, kept: Answers) -> bool:
        """Whether ``kept`` has what it takes."""

    @abstractmethod
    def of_draws(self, kept: Answers, weights: Weights) -> Numbers:
        """The quality of each draw, shape (draws,).

        Args:
            kept: of a network, of which this :meth:`decides`.
            weights: how often its samples are in the draws.
        """


@dataclass(frozen=True)
class ByClasses(Evidence):
    """The classes that are said and those that are true decide.

    Attributes:
        of_counts: the quality, shape (draws,), of how many samples of each class are right, were said to be
            of it, and are of it, shape (classes, draws) each.
    """

    of_counts: Callable[[Numbers, Numbers, Numbers], Numbers]

    def _numbers(self, outputs: Any) -> int:
        return 0

    def _rows(self, outputs: Any, targets: Any) -> Table:
        return np.empty((len(targets), 0), dtype=np.float32)  # classes are kept anyway

    def decides(self, kept: Answers) -> bool:
        return kept.said is not None and kept.true is not None

    def of_draws(self, kept: Answers, weights: Weights) -> Numbers:
        assert kept.said is not None and kept.true is not None
        # Their numbers mean nothing, and there may be few of large ones.
        there, labels = np.unique(np.concatenate([kept.true, kept.said]), return_inverse=True)
        true, said = np.split(labels, 2)
        right = np.flatnonzero(true == said)
        counts = (
            _by_class(true[right], weights[right], len(there)),
            _by_class(said, weights, len(there)),
            _by_class(true, weights, len(there)),
        )
        return self.of_counts(*counts)


@dataclass(frozen=True)
class BySums(Evidence):
    """Sums over samples decide.

    Attributes:
        numbers: that are added up.
        rows: those of each sample, shape (samples, numbers), of outputs and targets.
        of_sums: the quality, shape (draws,), of their sums, shape (draws, numbers), and of the numbers of
            samples.
    """

    numbers: int
    rows: Callable[[Any, Any], Table]
    of_sums: Callable[[Numbers, Numbers], Numbers]

    def _numbers(self, outputs: Any) -> int:
        return self.numbers

    def _rows(self, outputs: Any, targets: Any) -> Table:
        return self.rows(outputs, targets)

    def decides(self, kept: Answers) -> bool:
        return kept.table is not None and kept.table.shape[1] == self.numbers

    def of_draws(self, kept: Answers, weights: Weights) -> Numbers:
        assert kept.table is not None
        sums = weights.T.astype(np.float64) @ kept.table.astype(np.float64)
        return self.of_sums(sums, weights.sum(0, dtype=np.float64))


@final
class ByRanks(Evidence):
    """The order of samples by their shares of the softmax for each class decides the area under the curve."""

    def _numbers(self, outputs: Any) -> int:
        return int(outputs.shape[1])

    def _rows(self, outputs: Any, targets: Any) -> Table:
        return ranks(outputs)

    def decides(self, kept: Answers) -> bool:
        return kept.table is not None and kept.true is not None

    def of_draws(self, kept: Answers, weights: Weights) -> Numbers:
        """As :func:`trainables.metrics.samples.area_under_curve`: of classes that some of a draw have."""
        assert kept.table is not None and kept.true is not None
        classes = range(kept.table.shape[1])
        areas = [_area(kept.table[:, label], kept.true == label, weights) for label in classes]
        return _mean_of_known(np.stack(areas), 0.5)


def _area(places: Table, own: NDArray[np.bool_], weights: Weights) -> Numbers:
    """The area under the curve of one class in each draw; NaN where all samples are of it, or none.

    Of each sample of the class the others below it count, and half of those beside it. Others are added up
    between the places that a sample of the class has, so that one such sum per place is enough.

    Args:
        places: of the samples, ascending by their shares, shape (samples,).
        own: which are of the class.
        weights: shape (samples, draws).
    """
    if not own.any() or own.all():
        return np.full(weights.shape[1], np.nan)
    ours, others = (_in_order(places, np.flatnonzero(each)) for each in (own, ~own))
    there, starts = np.unique(places[ours], return_index=True)
    ends = [np.searchsorted(places[others], there, side) for side in ("left", "right")]
    below_and_beside = np.stack(ends, 1).reshape(-1)
    below = np.cumsum(_added(others, np.append(0, below_and_beside), weights), axis=0)
    each = _added(ours, np.append(starts, len(ours)), weights)
    pairs = np.einsum("ij,ij->j", each, below[0::2] + below[1::2], dtype=np.float64) / 2
    count = each.sum(0, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return np.asarray(pairs / (count * (weights.sum(0, dtype=np.float64) - count)))


def _in_order(places: Table, chosen: NDArray[np.int64]) -> NDArray[np.int64]:
    return chosen[np.argsort(places[chosen], kind="stable")]


def _added(samples: NDArray[np.int64], ends: NDArray[np.int64], weights: Weights) -> Weights:
    """Weights added up over groups of samples that follow one another, shape (groups, draws).

    Args:
        samples: numbers of the samples, group by group.
        ends: where the first group begins, then where each one ends.
        weights: shape (samples, draws).
    """
    # A product with a matrix of ones is three to ten times as fast as NumPy's sums over parts of an axis.
    from scipy.sparse import csr_array  # a fifth of a second, for those who draw

    ones, members = np.ones(ends[-1], dtype=np.float32), samples[: ends[-1]]
    return np.asarray(csr_array((ones, members, ends), shape=(len(ends) - 1, len(weights))) @ weights)


def _by_class(labels: Classes, weights: Weights, classes: int) -> Numbers:
    """Weights added up by the class that each sample has, shape (classes, draws)."""
    order = np.argsort(labels, kind="stable")
    ends = np.searchsorted(labels[order], np.arange(classes + 1))
    return _added(order, ends, weights).astype(np.float64)


def _mean_of_known(values: Numbers, otherwise: float = np.nan) -> Numbers:
    """The mean over classes of those that a draw has a number of; ``otherwise`` where it has none."""
    known = ~np.isnan(values)
    count = known.sum(0)
    total = np.where(known, values, 0.0).sum(0)
    return np.where(count > 0, total / np.maximum(count, 1), otherwise)


def _macro_f1(right: Numbers, said: Numbers, true: Numbers) -> Numbers:
    """As :func:`trainables.metrics.samples.macro_f1`: of the classes that a draw has, or were said in it."""
    with np.errstate(invalid="ignore"):
        return _mean_of_known(2 * right / (said + true))


def _balanced_accuracy(right: Numbers, said: Numbers, true: Numbers) -> Numbers:
    """As :func:`trainables.metrics.samples.balanced_accuracy`: of the classes that a draw has."""
    with np.errstate(invalid="ignore"):
        return _mean_of_known(right / true)


def _errors(each: Callable[[Any, Any], Numbers]) -> BySums:
    """Evidence for the mean of the errors of samples."""

    def rows(outputs: Any, targets: Any) -> Table:
        with np.errstate(over="ignore"):  # what single precision cannot hold is no number, and not kept
            found = each(outputs, targets).astype(np.float32)
        return found.astype(np.float64)[:, None]

    return BySums(1, rows, lambda sums, samples: sums[:, 0] / samples)


EVIDENCE: Mapping[str, Evidence] = {
    "macro_f1": ByClasses(_macro_f1),
    "balanced_accuracy": ByClasses(_balanced_accuracy),
    "area_under_curve": ByRanks(),
    "mean_absolute_error": _errors(absolute_errors),
    "mean_squared_error": _errors(squared_errors),
    "bleu": BySums(2 + 2 * ORDERS, bleu_counts, lambda sums, samples: bleu_of_counts(sums)),
}
"""By the name of the quality: those of which an interval is drawn. A share of right answers has a formula."""
