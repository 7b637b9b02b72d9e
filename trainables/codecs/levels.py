"""The levels of a quantized tensor as symbols for the entropy coder.

With an offset per bucket, zero lies at another level in each bucket, and so does the peak of the levels'
histogram. Levels may therefore be *aligned*: counted from the bucket's own level of zero, which offset, scale
and codebook say.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from trainables.codecs.ans import AnsDecoder
from trainables.codecs.binary import Reader
from trainables.codecs.contexts import Model, fit_model, read_model
from trainables.codecs.layout import Head, symbol_count
from trainables.codecs.segments import Segments, bucket_segments, shape_segments
from trainables.quantizers.base import Codes


def code_levels(codes: Codes) -> tuple[bool, Model]:
    """Whether the indices of ``codes``, of which there is one at least, are aligned; and their model."""
    index = codes.index.numpy()
    size = symbol_count(codes)
    segments = _segments(codes.shape, index.size, codes.bucket_size)
    candidates = [index]
    zeros = zero_levels(codes)
    if zeros is not None:
        candidates.append(_turn(index, size // 2 - zeros, size, codes.bucket_size))
    number, model = fit_model(candidates, size, segments)
    return number == 1, model


def read_levels(reader: Reader, head: Head, kept: int) -> Callable[[AnsDecoder], np.ndarray]:
    """Read the model of :func:`code_levels`; the result pops the symbols, uint8 (kept,), ``kept`` > 0."""
    return read_model(reader, kept, head.symbols, _segments(head.shape, kept, head.bucket_size))


def restore_levels(symbols: np.ndarray, codes: Codes) -> np.ndarray:
    """The indices of which ``symbols`` are the aligned form; ``codes`` hold everything but them.

    Raises:
        ValueError: levels of such codes cannot be aligned.
    """
    size = symbol_count(codes)
    zeros = zero_levels(codes)
    if zeros is None:
        raise ValueError("levels can be aligned by an offset and a finite, ascending codebook only")
    return _turn(symbols, zeros - size // 2, size, codes.bucket_size)


def zero_levels(codes: Codes) -> np.ndarray | None:
    """The level nearest to zero of each bucket, int64 (buckets,); None where there is none to be found.

    In double precision, with ``place = -offset / scale`` (0 if that is not a number): the even grid's level
    is ``place * (2^bits - 1)`` rounded half to even, cut to the grid; of a codebook, it is the number of
    midpoints ``(codebook[q] + codebook[q + 1]) / 2`` below ``place``.
    """
    if codes.offset is None:
        return None
    with np.errstate(all="ignore"):
        place = -codes.offset.numpy().astype(np.float64) / codes.scale.numpy().astype(np.float64)
        place[np.isnan(place)] = 0.0
        if codes.codebook is None:
            steps = 2**codes.bits - 1
            return np.rint(np.clip(place * steps, 0, steps)).astype(np.int64)
        book = codes.codebook.numpy().astype(np.float64)
        if not (np.isfinite(book).all() and (book[1:] >= book[:-1]).all()):
            return None
        return np.searchsorted((book[1:] + book[:-1]) / 2, place)


def _turn(levels: np.ndarray, by: np.ndarray, size: int, bucket_size: int | None) -> np.ndarray:
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


def _segments(shape: tuple[int, ...], kept: int, bucket_size: int | None) -> dict[int, Segments]:
    """Buckets; and where all elements are kept, so that they lie in their places, those of the shape."""
    found = dict(bucket_segments(kept, bucket_size))
    return found | dict(shape_segments(shape)) if kept == math.prod(shape) else found
