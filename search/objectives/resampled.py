"""Intervals of qualities that have no formula, by drawing samples again: no torch, no ray.

What decides a quality is kept of each sample, see :mod:`trainables.metrics.evidence`. Many draws are scored
at a time: :func:`search.objectives.certainty.bootstrap` at a hundredth of its price.
"""

from __future__ import annotations

from collections.abc import Mapping
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
from trainables.metrics.evidence import EVIDENCE, Evidence, Weights
from trainables.predictions import Answers

AT_ONCE = 1_000_000
"""Numbers of a table of draws that are held at a time."""
FEW = 8
"""Where so many samples are alike, in the mean, counts of equal ones are drawn: that is quicker then."""


def is_drawn(quality: Quality) -> bool:
    """Whether the interval of a quality is drawn, and so follows no formula, nor is unknown."""
    return quality.name in EVIDENCE


def intervals(
    quality: Quality, own: Answers, teacher: Answers | None = None, *, seed: int = 0
) -> dict[str, float]:
    """The ends of a quality's interval, and of what is lost to the teacher on the same samples.

    The order of the samples changes nothing.

    Args:
        quality: by which a sweep selects.
        own: what is kept of a network.
        teacher: of its teacher, or of another one that it is compared with; None (default) of the teacher
            itself.
        seed: of the draws.

    Returns:
        By metric, without the split before its name; nothing of a quality of which nothing is drawn, such as
        a share of right answers, which has a formula, and where one of both lacks what decides it.
    """
    evidence = EVIDENCE.get(quality.name)
    both = [own] if teacher is None else [own, teacher]
    if evidence is None or not all(map(evidence.decides, both)):
        return {}
    if len({len(column) for each in both for column in each.columns}) != 1 or not len(own.columns[0]):
        return {}
    scores = _drawn(evidence, both, seed)
    low, high = _ends(scores[0])
    found = {LOW: low, HIGH: high}
    if teacher is not None:
        found[LOST_LOW], found[LOST_HIGH] = _ends(quality.gain(1.0) * (scores[1] - scores[0]))
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


def _drawn(evidence: Evidence, networks: list[Answers], seed: int) -> list[NDArray[np.float64]]:
    """The quality of each draw, of all networks on the same samples."""
    index, counts = _kinds([column for each in networks for column in each.columns])
    kinds = [each.rows(index) for each in networks]
    random = np.random.default_rng(seed)
    found: list[list[NDArray[np.float64]]] = [[] for _ in networks]
    step = max(1, AT_ONCE // _cost(counts))
    for start in range(0, RESAMPLES, step):
        weights = _weights(counts, min(step, RESAMPLES - start), random)
        for scores, each in zip(found, kinds, strict=True):
            scores.append(evidence.of_draws(each, weights))
    return [np.concatenate(scores) for scores in found]


def _kinds(columns: list[NDArray[Any]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """One sample of each kind, in an order that only depends on what they are, and how many are alike."""
    order = np.lexsort(columns)
    first = np.zeros(len(order), dtype=bool)
    first[0] = True
    for column in columns:
        values = column[order]
        first[1:] |= values[1:] != values[:-1]
    starts = np.flatnonzero(first)
    return order[starts], np.diff(np.append(starts, len(order)))


def _cost(counts: NDArray[np.int64]) -> int:
    """Numbers that a draw takes."""
    return len(counts) if _alike(counts) else int(counts.sum())


def _alike(counts: NDArray[np.int64]) -> bool:
    return FEW * len(counts) <= int(counts.sum())


def _weights(counts: NDArray[np.int64], draws: int, random: np.random.Generator) -> Weights:
    """How often each kind of sample is in each draw, shape (kinds, draws)."""
    samples, kinds = int(counts.sum()), len(counts)
    if _alike(counts):
        found = random.multinomial(samples, counts / samples, size=draws)
    else:
        drawn = np.repeat(np.arange(kinds), counts)[random.integers(0, samples, (draws, samples))]
        drawn += kinds * np.arange(draws)[:, None]
        found = np.bincount(drawn.ravel(), minlength=kinds * draws).reshape(draws, kinds)
    return np.ascontiguousarray(found.T, dtype=np.float32)
