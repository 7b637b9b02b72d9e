"""Intervals of qualities that have no formula, by drawing samples again: no torch, no ray.

A quality that follows from how often which class was taken for which needs no sample itself. So the counts
of equal samples are drawn, all draws at once: :func:`search.objectives.certainty.bootstrap` at a hundredth
of its price.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.objectives.certainty import (
    CONFIDENCE,
    HIGH,
    LOST_HIGH,
    LOST_LOW,
    LOW,
    RESAMPLES,
    Interval,
)
from trainables.metrics import Quality
from trainables.predictions import Classes

Counts = NDArray[np.float64]
"""Of each draw and class, shape (draws, classes)."""
AT_ONCE = 4_000_000
"""Numbers of a table of draws that are held at a time."""


def _macro_f1(right: Counts, said: Counts, true: Counts) -> NDArray[np.float64]:
    """As :func:`trainables.metrics.samples.macro_f1`: of the classes that a draw has, or were said in it."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.nanmean(2 * right / (said + true), axis=1))


def _balanced_accuracy(right: Counts, said: Counts, true: Counts) -> NDArray[np.float64]:
    """As :func:`trainables.metrics.samples.balanced_accuracy`: of the classes that a draw has."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.nanmean(right / true, axis=1))


BY_COUNTS: Mapping[str, Callable[[Counts, Counts, Counts], NDArray[np.float64]]] = {
    "macro_f1": _macro_f1,
    "balanced_accuracy": _balanced_accuracy,
}
"""Qualities by name, of counts of right answers, of answers and of samples by class."""


def intervals(
    quality: Quality, true: Classes, said: Classes, teacher: Classes | None = None, *, seed: int = 0
) -> dict[str, float]:
    """The ends of a quality's interval, and of what is lost to the teacher on the same samples.

    Args:
        quality: by which a sweep selects.
        true: the classes that the data has, at least one sample.
        said: those that a network says.
        teacher: those that its teacher says; None (default) of the teacher itself.
        seed: of the draws.

    Returns:
        By metric, without the split before its name; nothing of a quality that more than classes decide, and
        of shares of right answers, which have a formula.
    """
    score = BY_COUNTS.get(quality.name)
    if score is None or not len(true):
        return {}
    own, others = _drawn(score, true, said, teacher, seed)
    low, high = _ends(own)
    found = {LOW: low, HIGH: high}
    if others is not None:
        found[LOST_LOW], found[LOST_HIGH] = _ends(quality.gain(1.0) * (others - own))
    return found


def kept_interval(row: Mapping[Any, Any], split: str, low: str = LOW, high: str = HIGH) -> Interval | None:
    """What :func:`intervals` found of a trial or a teacher; None where nothing was kept.

    Args:
        row: what was measured, by metric.
        split: what stands before the names, one of :data:`search.objectives.certainty.SPLITS`.
        low: name of one end; default that of the quality.
        high: of the other.
    """
    ends = [row.get(split + name) for name in (low, high)]
    numbers = [float(end) for end in ends if isinstance(end, (int, float)) and np.isfinite(end)]
    return Interval(*numbers) if len(numbers) == 2 and numbers[0] <= numbers[1] else None


def _ends(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(values, [0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2])
    return float(low), float(high)


def _drawn(
    score: Callable[[Counts, Counts, Counts], NDArray[np.float64]],
    true: Classes,
    said: Classes,
    teacher: Classes | None,
    seed: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """The quality of each draw, and the teacher's."""
    table = np.column_stack([true, said] if teacher is None else [true, said, teacher])
    kinds, counts = np.unique(table, axis=0, return_counts=True)
    random, samples = np.random.default_rng(seed), len(table)
    own: list[NDArray[np.float64]] = []
    others: list[NDArray[np.float64]] = []
    step = max(1, AT_ONCE // max(len(kinds), int(table.max()) + 1))
    for start in range(0, RESAMPLES, step):
        drawn = random.multinomial(samples, counts / samples, size=min(step, RESAMPLES - start))
        own.append(_scored(score, drawn, kinds[:, 0], kinds[:, 1]))
        if teacher is not None:
            others.append(_scored(score, drawn, kinds[:, 0], kinds[:, 2]))
    return np.concatenate(own), np.concatenate(others) if others else None


def _scored(
    score: Callable[[Counts, Counts, Counts], NDArray[np.float64]],
    drawn: NDArray[np.int64],
    true: Classes,
    said: Classes,
) -> NDArray[np.float64]:
    classes = int(max(true.max(), said.max())) + 1
    right = _by_class(drawn * (true == said), true, classes)
    return score(right, _by_class(drawn, said, classes), _by_class(drawn, true, classes))


def _by_class(drawn: NDArray[np.int64], labels: Classes, classes: int) -> Counts:
    """Counts of kinds added up by the class that each has."""
    order = np.argsort(labels, kind="stable")
    there, starts = np.unique(labels[order], return_index=True)
    found = np.zeros((len(drawn), classes))
    found[:, there] = np.add.reduceat(drawn[:, order], starts, axis=1)
    return found
