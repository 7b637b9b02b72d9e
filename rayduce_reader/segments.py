"""The ways in which the symbols of a tensor are cut into segments that may share a histogram."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

BUCKET, ROW, COLUMN, KERNEL, PLACE, CHANNEL = 1, 2, 3, 4, 5, 6
"""Kinds of segments; part of the file format. 0 means that there are none."""


class Segments(NamedTuple):
    """Symbol ``i`` belongs to segment ``(i // inner) % whole``; ``outer * whole * inner`` symbols in all.

    With ``last`` > 0 there is one more segment behind them, of that many symbols.
    """

    outer: int
    whole: int
    inner: int
    last: int = 0

    @property
    def number(self) -> int:
        """How many segments there are."""
        return self.whole + (self.last > 0)

    def count(self, chosen: np.ndarray) -> int:
        """Symbols of the ``chosen`` segments (ascending numbers)."""
        within, with_last = self._split(chosen)
        return within.size * self.outer * self.inner + (self.last if with_last else 0)

    def take(self, symbols: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """The symbols of the ``chosen`` segments (ascending numbers), in the order of ``symbols``."""
        within, with_last = self._split(chosen)
        taken = self._cube(symbols)[:, within].reshape(-1)
        return np.concatenate([taken, symbols[symbols.size - self.last :]]) if with_last else taken

    def put(self, symbols: np.ndarray, chosen: np.ndarray, values: np.ndarray) -> None:
        """Inverse of :meth:`take`: write ``values`` to the places of the ``chosen`` segments."""
        within, with_last = self._split(chosen)
        end = values.size - (self.last if with_last else 0)
        self._cube(symbols)[:, within] = values[:end].reshape(self.outer, within.size, self.inner)
        if with_last:
            symbols[symbols.size - self.last :] = values[end:]

    def sample(
        self, symbols: np.ndarray, most: int, per_segment: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """About ``per_segment`` symbols of each of about ``most`` segments, both evenly spread.

        Returns:
            The numbers of the segments picked, ascending; the place among them of each symbol picked; and
            these symbols.
        """
        cube = self._cube(symbols)
        segments = _spread(self.whole, most)
        inner = min(self.inner, per_segment)
        outer = _spread(self.outer, -(-per_segment // inner))
        picked = cube[outer][:, segments][:, :, _spread(self.inner, inner)]
        places = np.broadcast_to(np.arange(segments.size)[:, None], picked.shape).reshape(-1)
        if not self.last or most < self.whole:
            return segments, places, picked.reshape(-1)
        tail = symbols[symbols.size - self.last :][:per_segment]
        return (
            np.arange(self.number),
            np.concatenate([places, np.full(tail.size, self.whole)]),
            np.concatenate([picked.reshape(-1), tail]),
        )

    def _cube(self, symbols: np.ndarray) -> np.ndarray:
        return symbols[: symbols.size - self.last].reshape(self.outer, self.whole, self.inner)

    def _split(self, chosen: np.ndarray) -> tuple[np.ndarray, bool]:
        with_last = bool(self.last and chosen.size and chosen[-1] == self.whole)
        return (chosen[:-1] if with_last else chosen), with_last


def _spread(size: int, picks: int) -> np.ndarray:
    return np.arange(size) if picks >= size else np.arange(picks) * size // picks


def bucket_segments(count: int, bucket_size: int | None) -> dict[int, Segments]:
    """The buckets of ``count`` symbols, if there are at least two."""
    if bucket_size is None or count <= bucket_size:
        return {}
    return {BUCKET: Segments(1, count // bucket_size, bucket_size, count % bucket_size)}


def shape_segments(shape: tuple[int, ...]) -> Mapping[int, Segments]:
    """Segments of a tensor of ``shape`` all of whose elements are symbols; those of two or more.

    With the first dimension ``r``, the second ``c`` and the product ``k`` of the others, and so rows of
    ``c k`` elements: a row is what belongs to one index of the first dimension; a column, to one place in
    a row; a channel, to one index of the second dimension. With three or more dimensions, a kernel
    belongs to one pair of both; a place, to one place in a kernel.
    """
    if len(shape) < 2 or not math.prod(shape):
        return {}
    rows, channels, places = shape[0], shape[1], math.prod(shape[2:])
    found = {ROW: Segments(1, rows, channels * places), COLUMN: Segments(rows, channels * places, 1)}
    if places > 1:
        found[KERNEL] = Segments(1, rows * channels, places)
        found[PLACE] = Segments(rows * channels, places, 1)
        found[CHANNEL] = Segments(rows, channels, places)
    return {kind: segments for kind, segments in found.items() if segments.number > 1}
