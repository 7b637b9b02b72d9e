"""Which trials are not dominated, and how much the front covers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import moocore
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from trainables.metrics import Quality


def non_dominated(values: ArrayLike, maximise: tuple[bool, ...]) -> NDArray[np.bool_]:
    """Mark the rows that no other row dominates.

    A row dominates another if it is nowhere worse and somewhere better. Of equal rows the first
    is kept. A row with NaN or infinity was not measured and is never on the front.

    Args:
        values: shape (n, d), one row per trial.
        maximise: d flags, True where more is better.

    Returns:
        Booleans, shape (n,).

    Raises:
        ValueError: the shapes do not fit.
    """
    table = _table(values, len(maximise))
    mask = np.zeros(len(table), dtype=bool)
    measured = np.flatnonzero(np.isfinite(table).all(axis=1))
    if measured.size:
        losses = np.where(maximise, -table[measured], table[measured])
        # Sorting out equal rows beforehand keeps "the first" true whatever the library's order.
        unique, first = np.unique(losses, axis=0, return_index=True)
        kept = moocore.is_nondominated(unique) if len(maximise) > 1 else np.arange(len(unique)) == 0
        mask[measured[first[kept]]] = True
    return mask


def hypervolume(values: ArrayLike, reference: ArrayLike, maximise: tuple[bool, ...]) -> float:
    """Volume of the region that the rows dominate and that dominates ``reference``.

    Args:
        values: shape (n, d); rows with NaN or infinity, or no better than the reference, add nothing.
        reference: shape (d,), finite: the worst point that still counts.
        maximise: d flags, True where more is better.

    Returns:
        At least 0, in the product of the columns' units.

    Raises:
        ValueError: the shapes do not fit or the reference is not finite.
    """
    table = _table(values, len(maximise))
    corner = np.asarray(reference, dtype=float)
    if corner.shape != (len(maximise),) or not np.isfinite(corner).all():
        raise ValueError(f"reference must hold {len(maximise)} finite numbers, got {reference!r}")
    signs = np.where(maximise, -1.0, 1.0)
    losses, corner = table[np.isfinite(table).all(axis=1)] * signs, corner * signs
    losses = losses[(losses < corner).all(axis=1)]
    if not len(losses):
        return 0.0
    if len(maximise) == 1:
        return float(corner[0] - losses.min())
    return float(moocore.hypervolume(losses, ref=corner))


def worth(values: ArrayLike, quality: Quality, teacher: float) -> NDArray[np.float64]:
    """What values of a quality count in a hypervolume: more is better, 0 is nothing.

    In a range with two ends it is the share of the range, so 1 at the best value. Without two ends there is
    no such share, and it is told by the teacher's value: 1 there, one half for a student that is worse by as
    much as the teacher's own size (an error twice as large as the teacher's), and towards 0 the worse it is;
    towards 2 the better. It depends on no other student.

    Args:
        values: of ``quality``, any shape.
        quality: what was measured.
        teacher: the teacher's value, finite; any number if the range has two ends.
    """
    gains = np.asarray(values, dtype=float) * (1.0 if quality.up else -1.0)
    if quality.ranged:
        return (gains - quality.gain(quality.worst)) / (quality.highest - quality.lowest)
    size = abs(teacher) or 1.0 / quality.scale
    more = (gains - quality.gain(teacher)) / size
    share = 1.0 / (1.0 + np.abs(more))
    return np.where(more < 0, share, 2.0 - share)


POINT = 0.01
"""Of a worth; what is lost counts from about here on, since less is hardly measured."""


def closeness(worths: ArrayLike, best: float) -> NDArray[np.float64]:
    """How near worths come to the best one, in halvings of what is lost.

    From 10 points lost to 5 counts about as much as from 5 to 2.5, since students are chosen among those that
    lose little; on the scale of :func:`worth` itself, what is far from any use would count most.

    Args:
        worths: any shape; more than ``best`` counts as that.
        best: above 0, usually the teacher's.

    Returns:
        From 0 for a worth of 0 up to log2(1 + best / :data:`POINT`), 6.7 for a best worth of 1.
    """
    lost = np.clip(best - np.asarray(worths, dtype=float), 0.0, None)
    return np.asarray(np.log2((best + POINT) / (lost + POINT)))


def at_closeness(values: ArrayLike, best: float) -> NDArray[np.float64]:
    """Inverse of :func:`closeness`, up to ``best``."""
    return best + POINT - (best + POINT) * np.exp2(-np.asarray(values, dtype=float))


def size_quality_hypervolume(
    sizes: ArrayLike,
    values: ArrayLike,
    quality: Quality,
    *,
    reference_bytes: float,
    reference_value: float | None = None,
    teacher_value: float = math.nan,
) -> float:
    """How much of the plane of log2(bytes) and quality a front covers.

    A unit is one halving of the file at the full :func:`worth` of the quality: an accuracy of 1.0, a BLEU of
    100, the teacher's value of an error without an end. Comparable only between fronts measured against the
    same references.

    Args:
        sizes: in bytes, shape (n,), above 0.
        values: shape (n,), of ``quality``.
        quality: what was measured.
        reference_bytes: the largest size that counts, usually the teacher's.
        reference_value: the worst value that counts, such as that of guessing; None (default) is the worst
            there can be.
        teacher_value: the teacher's; needed of a quality whose range does not have two ends.

    Raises:
        ValueError: ``reference_bytes`` is not above 0, or ``teacher_value`` is needed and not finite.
    """
    if not quality.ranged:
        _check_teacher(teacher_value, f"where a quality has no range with two ends, as {quality.name}")
    least = 0.0 if reference_value is None else float(worth(reference_value, quality, teacher_value))
    return _size_hypervolume(sizes, worth(values, quality, teacher_value), reference_bytes, least)


def size_loss_hypervolume(
    sizes: ArrayLike,
    values: ArrayLike,
    quality: Quality,
    *,
    reference_bytes: float,
    teacher_value: float,
    reference_value: float | None = None,
) -> float:
    """How much of the plane of log2(bytes) and :func:`closeness` to the teacher a front covers.

    A unit is one halving of the file at one halving of what its student loses to the teacher. So it grows
    where students are chosen, near the teacher, and small files of little use hardly add to it.

    Args:
        sizes: in bytes, shape (n,), above 0.
        values: shape (n,), of ``quality``; better than the teacher counts as the teacher.
        quality: what was measured.
        reference_bytes: the largest size that counts, usually the teacher's.
        teacher_value: the teacher's, finite.
        reference_value: the worst value that counts; None (default) is the worst there can be.

    Raises:
        ValueError: ``reference_bytes`` is not above 0, or ``teacher_value`` is not finite.
    """
    _check_teacher(teacher_value, "since losses are counted from it")
    best = max(float(worth(teacher_value, quality, teacher_value)), 0.0)
    least = 0.0 if reference_value is None else float(worth(reference_value, quality, teacher_value))
    near = closeness(worth(values, quality, teacher_value), best)
    return _size_hypervolume(sizes, near, reference_bytes, float(closeness(least, best)))


def _check_teacher(value: float, why: str) -> None:
    if not math.isfinite(value):
        raise ValueError(f"teacher_value must be finite {why}, got teacher_value={value!r}")


def _size_hypervolume(sizes: ArrayLike, gains: ArrayLike, reference_bytes: float, least: float) -> float:
    if not reference_bytes > 0:
        raise ValueError(f"reference_bytes must be above 0, got {reference_bytes=}")
    bytes_ = np.asarray(sizes, dtype=float)
    logs = np.log2(bytes_, out=np.full_like(bytes_, np.nan), where=bytes_ > 0)
    return hypervolume(np.column_stack([logs, gains]), (math.log2(reference_bytes), least), (False, True))


def front_so_far(trials: pd.DataFrame, quality: Quality, costs: Sequence[str]) -> pd.Series[bool]:
    """Mark the finished trials that are not dominated in validation quality and ``costs``.

    Args:
        trials: one row each; those that are not ``feasible`` take no part.
        quality: to go by, on the validation split.
        costs: columns of what is minimised beside it, such as ``packed_bytes``.
    """
    values = trials[[quality.validation, *costs]].to_numpy(dtype=float, na_value=np.nan, copy=True)
    out = (trials["state"] != "finished").to_numpy(dtype=bool, na_value=True)
    values[out | ~trials["feasible"].to_numpy(dtype=bool)] = np.nan
    return pd.Series(
        non_dominated(values, (quality.up, *(False for _ in costs))), index=trials.index, dtype=bool
    )


def _table(values: ArrayLike, columns: int) -> NDArray[np.float64]:
    table = np.asarray(values, dtype=float)
    if table.size == 0:
        table = table.reshape(0, columns)
    if table.ndim != 2 or table.shape[1] != columns or columns == 0:
        raise ValueError(f"values must have shape (n, {columns}), got {table.shape}")
    return table
