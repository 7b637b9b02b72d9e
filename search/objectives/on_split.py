"""What a student measured on one split, how sure that is, and how it is written: no torch, no ray."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

from search.objectives.certainty import (
    CONFIDENCE,
    LOST_HIGH,
    LOST_LOW,
    Interval,
    compared,
    samples_of,
    share_interval,
)
from search.objectives.resampled import kept_interval
from trainables.metrics import MEAN_QUALITY, QUALITIES, Quality
from trainables.metrics.base import VALIDATION

SURE = f"{100 * CONFIDENCE:g} %"
"""The confidence of every interval, in words."""
MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class OnSplit:
    """A student on one split.

    Attributes:
        split: ``validation`` or ``test``.
        quality: what was measured.
        value: of it.
        between: the interval of ``value``; None where it has none.
        lost: points that it loses to the teacher on the same split, below 0 where it is better; NaN where the
            teacher's is not known.
        lost_between: their interval, of both on the same samples; None where that was not counted.
    """

    split: str
    quality: Quality
    value: float
    between: Interval | None = None
    lost: float = math.nan
    lost_between: Interval | None = None

    @property
    def most_lost(self) -> float:
        """The worse end of what it loses, in points; NaN where that is not known."""
        return math.nan if self.lost_between is None else self.lost_between.high

    def value_text(self) -> str:
        """``96.11 % (93.58 to 97.69)``; without what is in brackets where there is no interval."""
        text = self.quality.text(self.value)
        if self.between is None:
            return text
        ends = (
            self.quality.number(self.quality.points(end)) for end in (self.between.low, self.between.high)
        )
        return f"{text} ({' to '.join(ends)})"

    def in_words(self) -> str:
        """:meth:`value_text` and :meth:`beside_teacher`: how far the value is from the teacher's."""
        return f"{self.value_text()}{self.beside_teacher()}"

    def lost_text(self) -> str:
        """``1.11 points (-0.21 to 2.42)``; empty where it is not known."""
        if math.isnan(self.lost):
            return ""
        text = f"{self._signed(self.lost)} {self.quality.step()}"
        return f"{text} ({self._ends()})" if self.lost_between is not None else text

    def most_text(self) -> str:
        """The worse end of what it loses, without the unit: ``2.42``."""
        return self._signed(self.most_lost)

    def lost_cell(self) -> str:
        """The same in a cell of a table whose head has the unit: ``1.11 (-0.21 to 2.42)``."""
        if math.isnan(self.lost):
            return ""
        return f"{self._signed(self.lost)} ({self._ends()})" if self.lost_between else self._signed(self.lost)

    def beside_teacher(self) -> str:
        """Words that follow the value, empty where the teacher's is not known.

        Such as ``, 1.11 points below the teacher's (95 % sure: 2.42 below to 0.21 above)``.
        """
        if math.isnan(self.lost):
            return ""
        worse, better = ("below", "above") if self.quality.up else ("above", "below")
        text = ", as the teacher's" if self.lost == 0 else f", {self._away(self.lost, worse, better)}"
        text = text if self.lost == 0 else f"{text} the teacher's"
        if self.lost_between is None:
            return text
        low, high = self.lost_between.low, self.lost_between.high
        ends = (self._away(end, worse, better, unit=False) for end in (high, low))
        return f"{text} ({SURE} sure: {' to '.join(ends)})"

    def _ends(self) -> str:
        assert self.lost_between is not None
        return f"{self._signed(self.lost_between.low)} to {self._signed(self.lost_between.high)}"

    def _away(self, lost: float, worse: str, better: str, *, unit: bool = True) -> str:
        number = self.quality.number(abs(lost), self.quality.points(self.value))
        word = f"{number} {self.quality.step()}" if unit else number
        return f"{word} {worse if lost > 0 else better}"

    def _signed(self, points: float) -> str:
        text = self.quality.number(abs(points), self.quality.points(self.value))
        return text if points >= 0 or float(text.replace(",", "")) == 0 else f"{MINUS}{text}"


def on_split(
    row: Mapping[Any, Any], teacher: Mapping[str, float], quality: Quality, prefix: str
) -> OnSplit | None:
    """What a student measured on a split; None if it did not.

    Args:
        row: by metric.
        teacher: what is known of its teacher, likewise.
        quality: of the sweep.
        prefix: before the names of the split's metrics, one of :data:`search.objectives.certainty.SPLITS`.
    """
    value = row.get(prefix + quality.name)
    if not isinstance(value, Real) or not math.isfinite(value):  # pandas has a NA of its own
        return None
    samples = samples_of(teacher, quality, prefix)
    own, beside = teacher.get(prefix + quality.name, math.nan), compared(row, samples, prefix)
    lost = quality.lost(float(value), own) if math.isfinite(own) else math.nan
    ends = None
    if beside is not None:
        found = beside.interval()
        ends = Interval(-found.high, -found.low)
    elif samples is None:
        ends = kept_interval(row, prefix, LOST_LOW, LOST_HIGH)
    between = None
    if ends is not None and not math.isnan(lost):
        between = Interval(quality.points(ends.low), quality.points(ends.high))
    split = "validation" if prefix == VALIDATION else "test"
    return OnSplit(split, quality, float(value), value_interval(row, value, samples, prefix), lost, between)


def value_interval(row: Mapping[Any, Any], value: Any, samples: int | None, prefix: str) -> Interval | None:
    """The interval of a quality that was measured on a split: by its formula, or else as it was drawn.

    Args:
        row: of the student or the teacher, by metric.
        value: the quality.
        samples: of which it is the share that is right; None where it is no such share.
        prefix: before the names of the split's metrics.
    """
    return kept_interval(row, prefix) if samples is None else share_interval(value, samples)


def no_interval(quality: Quality) -> str:
    """Why a quality on a finite split has no interval, where it has none; without a full stop."""
    if quality.name == MEAN_QUALITY:
        why = "the mean of several tasks has samples of each"
    elif quality not in QUALITIES:
        why = "a quality of your own is one number for all samples"
    else:
        why = "what decides it was not kept of each sample"
    return f"No interval: {why}"


def reported(row: Mapping[Any, Any], teacher: Mapping[str, float], quality: Quality) -> OnSplit | None:
    """On the test split where it was measured, which no choice has seen; else on validation."""
    return on_split(row, teacher, quality, "") or on_split(row, teacher, quality, VALIDATION)


def most_lost(row: Mapping[Any, Any], teacher: Mapping[str, float], quality: Quality) -> float:
    """The worse end of what a student loses on validation, in points; infinite where that is not known."""
    found = on_split(row, teacher, quality, VALIDATION)
    return math.inf if found is None or found.lost_between is None else found.most_lost
