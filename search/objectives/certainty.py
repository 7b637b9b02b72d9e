"""How sure a quality is that was measured on finitely many samples. Imports neither torch nor ray.

A share of right answers has Wilson's interval. Two networks that answered the same samples are compared by
those on which exactly one is right: that varies far less than the two shares do, so two intervals that
overlap do not mean that there is no difference.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from trainables.metrics import Quality
from trainables.metrics.base import VALIDATION

CONFIDENCE = 0.95
"""Of every interval that is shown, and by whose worse end students are chosen."""
ALPHA = 0.05
"""Two students are told apart where chance alone makes such a difference less often than this."""
RESAMPLES = 2000
SAMPLES, LOST, GAINED = "samples", "lost_answers", "gained_answers"
"""Metrics, with ``validation_`` before them for that split: of a teacher, how many samples its quality is a
share of; of a student, how many the teacher alone gets right, and how many the student alone."""
SPLITS = (VALIDATION, "")
"""What stands before the names of what is measured on each split: validation, test."""
COUNTS = tuple(prefix + name for prefix in SPLITS for name in (LOST, GAINED))
LOW, HIGH, LOST_LOW, LOST_HIGH = "quality_low", "quality_high", "lost_low", "lost_high"
"""Metrics of qualities that are no share of right answers: the ends of their interval, and of that of what is
lost to the teacher, in the unit of the quality; see :mod:`search.objectives.resampled`."""
BOUNDS = tuple(prefix + name for prefix in SPLITS for name in (LOW, HIGH, LOST_LOW, LOST_HIGH))
SURENESS = (*COUNTS, *BOUNDS)
"""All that is kept of how sure a student's quality is."""


@dataclass(frozen=True)
class Interval:
    """Where a value lies with :data:`CONFIDENCE`; ``low`` is at most ``high``, in the value's unit."""

    low: float
    high: float


def wilson(right: float, samples: int, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's interval of a share (1927): of 300 right answers of 300 it is 0.9874 to 1, not 1 to 1.

    Args:
        right: answers that are right, 0 to ``samples``.
        samples: how many there were, at least 1.
        confidence: in (0, 1).

    Raises:
        ValueError: a number is out of range.
    """
    if samples < 1 or not 0 <= right <= samples or not 0 < confidence < 1:
        raise ValueError(
            f"right must be in [0, samples], samples at least 1 and confidence in (0, 1), got {right=}, "
            f"{samples=}, {confidence=}"
        )
    z = _spread(confidence)
    share, spread = right / samples, z * z / samples
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / samples + spread / (4 * samples))
    # What is seen is inside: at an end the formula misses it by the last digit.
    return Interval(max(min(middle - half, share), 0.0), min(max(middle + half, share), 1.0))


def _heads(count: int, throws: int) -> float:
    """The chance of so many heads in so many throws of a fair coin."""
    logs = math.lgamma(throws + 1) - math.lgamma(count + 1) - math.lgamma(throws - count + 1)
    return math.exp(logs - throws * math.log(2))


def _spread(confidence: float) -> float:
    """How many standard deviations of a normal distribution hold so much of it."""
    return NormalDist().inv_cdf(0.5 + confidence / 2)


@dataclass(frozen=True)
class Paired:
    """Two networks on the same samples.

    Attributes:
        lost: samples that the first gets right and the second does not.
        gained: samples that the second gets right and the first does not.
        samples: all of them, at least ``lost + gained`` and at least 1.

    Raises:
        ValueError: such counts cannot be.
    """

    lost: int
    gained: int
    samples: int

    def __post_init__(self) -> None:
        if min(self.lost, self.gained) < 0 or not max(self.lost + self.gained, 1) <= self.samples:
            raise ValueError(f"lost and gained must be counts of the samples, got {self}")

    @classmethod
    def of(cls, first: ArrayLike, second: ArrayLike) -> Paired:
        """Of two networks' answers, as booleans of which True is right, in the same order."""
        one, other = np.asarray(first, dtype=bool), np.asarray(second, dtype=bool)
        if one.shape != other.shape:
            raise ValueError(f"both must have answered the same samples, got {one.shape} and {other.shape}")
        return cls(int((one & ~other).sum()), int((~one & other).sum()), one.size)

    @property
    def difference(self) -> float:
        """The share that the second gets right, less that of the first."""
        return (self.gained - self.lost) / self.samples

    def interval(self, confidence: float = CONFIDENCE) -> Interval:
        """Where :attr:`difference` lies, after Bonett and Price (2012).

        It counts one more sample of either kind. Without, two networks that never differ on 300 samples would
        be equal with certainty, as they are to a bootstrap, which draws what it has seen. The difference
        itself is always inside.
        """
        z, n = _spread(confidence), self.samples + 2
        lost, gained = (self.lost + 1) / n, (self.gained + 1) / n
        middle = gained - lost
        half = z * math.sqrt(max(lost + gained - middle**2, 0.0) / n)
        low, high = max(middle - half, -1.0), min(middle + half, 1.0)
        return Interval(min(low, self.difference), max(high, self.difference))

    def chance(self) -> float:
        """McNemar's test with the mid-p value: how often chance alone makes such a difference, in (0, 1].

        After Fagerland, Lydersen and Laake (2013): exact, less half the probability of what was seen, since
        the exact test is too cautious with few samples that differ.
        """
        differ, fewer = self.lost + self.gained, min(self.lost, self.gained)
        if not differ:
            return 1.0
        # Of a fair coin; SciPy has it too, and takes seconds to load on a busy machine.
        tails = [_heads(count, differ) for count in range(fewer + 1)]
        exact = 1.0 if self.lost == self.gained else 2 * math.fsum(tails)
        return exact - tails[-1]

    @property
    def told_apart(self) -> bool:
        """Whether chance alone makes such a difference less often than :data:`ALPHA`."""
        return self.chance() < ALPHA


def bootstrap(
    statistic: Callable[..., float],
    *columns: ArrayLike,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """The percentile interval of any number that is computed of samples: the samples are drawn again.

    Of a difference of two networks on the same samples, give both networks' columns: a sample is drawn with
    all that belongs to it.

    Args:
        statistic: takes columns as ``columns`` and returns a finite number.
        columns: what there is of each sample, the samples along the first axis, equally many.
        confidence: in (0, 1).
        resamples: how often samples are drawn.
        seed: of the draws.

    Raises:
        ValueError: there are no samples, or columns have different lengths.
    """
    tables = [np.asarray(column) for column in columns]
    lengths = {len(table) for table in tables}
    if len(lengths) != 1 or lengths == {0}:
        raise ValueError(f"columns must hold equally many samples, at least 1, got {sorted(lengths)}")
    random, (length,) = np.random.default_rng(seed), lengths
    found = []
    for _ in range(resamples):
        drawn = random.integers(0, length, length)
        found.append(statistic(*(table[drawn] for table in tables)))
    low, high = np.quantile(found, [0.5 - confidence / 2, 0.5 + confidence / 2])
    return Interval(float(low), float(high))


def samples_of(metrics: Mapping[str, float], quality: Quality, split: str) -> int | None:
    """Of how many samples of a split the quality is the share, as a sweep's run says; None where it is none.

    Args:
        metrics: of the sweep's run.
        quality: of the sweep.
        split: one of :data:`SPLITS`.
    """
    value = metrics.get(split + SAMPLES, math.nan)
    known = math.isfinite(value) and value >= 1 and value == int(value)
    return int(value) if known and quality.up and (quality.lowest, quality.highest) == (0.0, 1.0) else None


def has_intervals(metrics: Mapping[str, float], quality: Quality, split: str) -> bool:
    """Whether a sweep's qualities on a split have intervals, by a formula or drawn; arguments as above."""
    drawn = math.isfinite(metrics.get(split + LOW, math.nan))
    return drawn or samples_of(metrics, quality, split) is not None


def share_interval(value: Any, samples: int | None) -> Interval | None:
    """The interval of a share of so many samples; None where one of them is not known."""
    if samples is None or pd.isna(value) or not 0 <= value <= 1:
        return None
    return wilson(float(value) * samples, samples)


def compared(row: Mapping[Any, Any], samples: int | None, split: str) -> Paired | None:
    """A student beside its teacher on a split; None where that was not counted.

    Args:
        row: what the student measured, with :data:`COUNTS`.
        samples: of the split.
        split: one of :data:`SPLITS`.
    """
    counts: list[Any] = [row.get(split + name) for name in (LOST, GAINED)]
    if samples is None or any(pd.isna(count) or not 0 <= count <= samples for count in counts):
        return None
    lost, gained = int(counts[0]), int(counts[1])
    return Paired(lost, gained, samples) if lost + gained <= samples else None


def counts_of(pair: Paired, split: str) -> dict[str, float]:
    """The :data:`COUNTS` of one split, as they are logged."""
    return {split + LOST: float(pair.lost), split + GAINED: float(pair.gained)}


def undecided(right: Sequence[NDArray[np.bool_] | None]) -> list[bool]:
    """Of students in the order of their sizes, which cannot be told from the next smaller one.

    The first has none. Where the answers of one of two are not known, nothing is said.

    Args:
        right: of each student which samples it gets right.
    """
    found = [False] * len(right)
    for place, (smaller, own) in enumerate(itertools.pairwise(right), 1):
        if smaller is not None and own is not None and smaller.shape == own.shape:
            found[place] = not Paired.of(smaller, own).told_apart
    return found
