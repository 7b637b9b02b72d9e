"""The levels of a quantized tensor, out of the symbols of the entropy coder."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from rayduce_reader.ans import AnsDecoder
from rayduce_reader.binary import Reader
from rayduce_reader.contexts import read_model
from rayduce_reader.forms import Codes
from rayduce_reader.layout import Head
from rayduce_reader.segments import Segments, bucket_segments, shape_segments


def read_levels(reader: Reader, head: Head, kept: int) -> Callable[[AnsDecoder], np.ndarray]:
    """Read the model of levels; the result pops the symbols, uint8 (kept,), ``kept`` > 0."""
    return read_model(reader, kept, head.symbols, segments_of(head.shape, kept, head.bucket_size))


def restore_levels(symbols: np.ndarray, codes: Codes) -> np.ndarray:
    """The indices of which ``symbols`` are the aligned form; ``codes`` hold everything but them.

    Raises:
        ValueError: levels of such codes cannot be aligned.
    """
    size = codes.symbols
    zeros = zero_levels(codes)
    if zeros is None:
        raise ValueError("levels can be aligned by an offset and a finite, ascending codebook only")
    return turned_by(symbols, zeros - size // 2, size, codes.bucket_size)


def zero_levels(codes: Codes) -> np.ndarray | None:
    """The level nearest to zero of each bucket, int64 (buckets,); None where there is none to be found.

    In double precision, with ``place = -offset / scale`` (0 if that is not a number): the even grid's level
    is ``place * (2^bits - 1)`` rounded half to even, cut to the grid; of a codebook, it is the number of
    midpoints ``(codebook[q] + codebook[q + 1]) / 2`` below ``place``.
    """
    if codes.offset is None:
        return None
    with np.errstate(all="ignore"):
        place = -codes.offset.astype(np.float64) / codes.scale.astype(np.float64)
        place[np.isnan(place)] = 0.0
        if codes.codebook is None:
            steps = 2**codes.bits - 1
            return np.rint(np.clip(place * steps, 0, steps)).astype(np.int64)
        book = codes.codebook.astype(np.float64)
        if not (np.isfinite(book).all() and (book[1:] >= book[:-1]).all()):
            return None
        return np.searchsorted((book[1:] + book[:-1]) / 2, place)


def turned_by(levels: np.ndarray, by: np.ndarray, size: int, bucket_size: int | None) -> np.ndarray:
    """``(levels + by[bucket]) mod size``, uint8."""
    length = max(1, levels.size if bucket_size is None else min(bucket_size, levels.size))
    whole = levels.size - levels.size % length
    turned = np.empty_like(levels)
    by = (by % size).astype(np.uint8)
    for begin, end, rows in ((0, whole, whole // length), (whole, levels.size, 1)):
        if begin == end:
            continue
        part = levels[begin:end].reshape(rows, -1)
        amount = by[begin // length : begin // length + rows, None]
        if 256 % size == 0:  # 8-bit sums wrap by themselves
            turned[begin:end] = ((part + amount) & np.uint8(size - 1)).reshape(-1)
        else:
            turned[begin:end] = ((part.astype(np.uint16) + amount) % size).reshape(-1)
    return turned


def segments_of(shape: tuple[int, ...], kept: int, bucket_size: int | None) -> dict[int, Segments]:
    """Buckets; and where all elements are kept, so that they lie in their places, those of the shape."""
    found = dict(bucket_segments(kept, bucket_size))
    return found | dict(shape_segments(shape)) if kept == math.prod(shape) else found
