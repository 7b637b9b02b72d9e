"""Whole numbers in few bits, as ONNX tensors and operations that runtimes carry out as they load a file.

ONNX has whole numbers of 2, 4 and 8 bits. Other ranges are put together out of **planes**: a number below 8
is one below 4 and, times 4, one below 2. Numbers below 2, 3 and 6 are digits of bytes, 8, 5 and 3 in each.
Where most numbers are in a narrow **window**, such as zero alone, the others are **exceptions**: their
places, as a bit for each number or as distances from one to the next, and their values are stored apart, and
may have a window of their own.

Their types are undone by Cast and not by DequantizeLinear, which ONNX Runtime carries out anew in every run,
or fuses with a product into one that rounds its inputs to 8 bits, unless a session option forbids it.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import helper

from trainables.exporting.pieces import INT32, NARROW, Array, Pieces

Integers = NDArray[np.int64]

DIGITS = {2: 8, 3: 5, 6: 3}
"""How many digits of a base a byte holds."""

PLANE_BITS = {256: 8.0, 16: 4.0, 4: 2.0} | {base: 8 / digits for base, digits in DIGITS.items()}

PLANE_BYTES, DIGITS_BYTES, WINDOW_BYTES, INSIDE_BYTES, GAP_BYTES = 110, 200, 240, 140, 300
"""Roughly, what nodes and names take in a file; they decide only which of several exact forms is taken."""

WINDOWS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 96, 128)

DEPTH, TRIED = 3, 3
"""How many windows are looked at within one another, and how many of each."""

GAP_BITS = (2, 3, 4, 5, 6, 8)


class _Split(NamedTuple):
    size: float
    window: tuple[int, int] | None


class _Gaps(NamedTuple):
    codes: Integers
    escape: int


def write_numbers(pieces: Pieces, values: Array, to: int) -> str:
    """The name of a tensor that holds ``values``, stored in as few bytes as possible.

    Args:
        values: whole numbers, at least one, at most 2^15 apart, in one dimension or a matrix.
        to: the type of the tensor that is made, FLOAT or INT32.
    """
    numbers = values.reshape(-1).astype(np.int64)
    low = int(numbers.min())
    window = _cheapest(np.bincount(numbers - low), DEPTH).window
    if window is None:
        return _dense(pieces, values.astype(np.int64), to)
    start, width = low + window[0], window[1]
    exceptional = (numbers < start) | (numbers >= start + width)
    mask = write_mask(pieces, exceptional)
    made = spread(pieces, _others(pieces, numbers[exceptional], start, width, to), mask, to)
    if width > 1:
        usual = pieces.add("Sub", pieces.constant(np.array(1, np.int32)), mask)
        inside = _dense(pieces, numbers[~exceptional] - start, to)
        made = pieces.add("Add", made, spread(pieces, inside, usual, to))
    made = pieces.number("Add", made, start, to) if start else made
    return made if values.ndim == 1 else pieces.reshaped(made, values.shape)


def _others(pieces: Pieces, numbers: Integers, start: int, width: int, to: int) -> str:
    """``numbers`` outside of a window, less its start; stored as if the window were not."""
    above = numbers >= start + width
    if not above.any() or above.all():
        return write_numbers(pieces, numbers - start, to)
    closed = write_numbers(pieces, numbers - start - width * above, to)
    later = pieces.cast(pieces.number("GreaterOrEqual", closed, 0, to), to)
    return pieces.add("Add", closed, pieces.number("Mul", later, width, to))


def _cheapest(histogram: Integers, depth: int) -> _Split:
    """The window to take out of numbers that occur so often, with up to ``depth`` in all."""
    used = np.flatnonzero(histogram)
    first, count = int(used[0]), int(histogram.sum())
    histogram = histogram[first : int(used[-1]) + 1]
    span = len(histogram)
    best = _Split(_dense_bytes(span, count), None)
    if not depth:
        return best
    total = np.concatenate([[0], np.cumsum(histogram)])
    found = []
    for width in WINDOWS:
        if width >= span:
            break
        inside = total[width:] - total[:-width]
        start = int(inside.argmax())
        outside = count - int(inside[start])
        fixed = WINDOW_BYTES + _likely_mask_bytes(outside, count)
        if width > 1:
            fixed += INSIDE_BYTES + _dense_bytes(width, count - outside)
        rest = np.concatenate([histogram[:start], histogram[start + width :]])
        found.append(
            (fixed + _dense_bytes(int(np.ptp(np.flatnonzero(rest))) + 1, outside), fixed, start, width)
        )
    for _, fixed, start, width in sorted(found)[:TRIED]:
        rest = np.concatenate([histogram[:start], histogram[start + width :]])
        needed = fixed + _cheapest(rest, depth - 1).size
        if needed < best.size:
            best = _Split(needed, (first + start, width))
    return best


def write_mask(pieces: Pieces, chosen: NDArray[np.bool_]) -> str:
    """The name of a tensor of one dimension, INT32, 1 where ``chosen`` and 0 elsewhere; one must be chosen.

    Every size in it is known beforehand: ONNX Runtime does not compute NonZero and Compress once for all.
    """
    _, gaps = _mask_bytes(chosen)
    if gaps is None:
        return _digits(pieces, chosen.astype(np.int64), 2, INT32)
    codes = _dense(pieces, gaps.codes, INT32)
    steps = pieces.number("Add", codes, 1, INT32)
    if (gaps.codes == gaps.escape).any():
        steps = pieces.number("Min", steps, gaps.escape, INT32)
    ends = pieces.add("CumSum", steps, pieces.constant(np.array(0, np.int64)))
    # An escape ends on an element that is not chosen.
    real = pieces.cast(pieces.number("Less", codes, gaps.escape, INT32), INT32)
    none = pieces.filled(0, len(chosen), INT32)
    return pieces.add("ScatterElements", none, pieces.number("Sub", ends, 1, INT32), real)


def spread(pieces: Pieces, values: str, mask: str, to: int) -> str:
    """``values`` of one dimension and the type ``to``, in order, where ``mask`` is 1, and zero elsewhere."""
    zero = pieces.constant(np.zeros(1, helper.tensor_dtype_to_np_dtype(to)))
    return picked(pieces, pieces.add("Concat", zero, values, axis=0), mask)


def picked(pieces: Pieces, values: str, mask: str) -> str:
    """The first of ``values`` where ``mask`` is 0, and all others, in order, where it is 1."""
    counted = pieces.add("CumSum", mask, pieces.constant(np.array(0, np.int64)))
    return pieces.add("Gather", values, pieces.add("Mul", counted, mask))


def _dense(pieces: Pieces, numbers: Integers, to: int) -> str:
    """Every number in the same number of bits."""
    low, span, count = int(numbers.min()), int(np.ptp(numbers)) + 1, numbers.size
    if span == 1:
        made = pieces.filled(low, count, to)
        return made if numbers.ndim == 1 else pieces.reshaped(made, numbers.shape)
    planes = _planes(span, count)
    room = math.prod(planes)
    # Of the ranges that hold all numbers, one that begins where a type of ONNX begins needs no addition.
    ends = range(low + span - room, low + 1)
    signed = len(planes) == 1 and planes[0] not in DIGITS and -room // 2 in ends
    begin = -room // 2 if signed else 0 if 0 in ends else low
    if signed:
        return _plane(pieces, numbers, planes[0], to, signed=True)
    left, unit, total = numbers - begin, 1, ""
    for base in planes:
        plane = _plane(pieces, left % base, base, to)
        if unit > 1:
            plane = pieces.number("Mul", plane, unit, to)
        total = pieces.add("Add", total, plane) if total else plane
        left, unit = left // base, unit * base
    return pieces.number("Add", total, begin, to) if begin else total


def _plane(pieces: Pieces, digits: Integers, base: int, to: int, *, signed: bool = False) -> str:
    if base in DIGITS:
        return _digits(pieces, digits, base, to)
    # By way of a type that has the values: narrow ones are made from bytes.
    values = digits.astype(np.int8 if signed else np.uint8).astype(NARROW[base, signed])
    return pieces.cast(pieces.keep(values), to)


def _digits(pieces: Pieces, digits: Integers, base: int, to: int) -> str:
    """Several digits of ``base`` in a byte, the first one lowest."""
    units = base ** np.arange(DIGITS[base])
    padded = np.zeros(-(-digits.size // len(units)) * len(units), np.int64)
    padded[: digits.size] = digits.reshape(-1)
    stored = (padded.reshape(-1, len(units)) @ units).astype(np.uint8)
    wide = pieces.cast(pieces.keep(stored.reshape(-1, 1)), INT32)
    shifted = pieces.add("Div", wide, pieces.constant(units.astype(np.int32)))
    whole = len(padded) == digits.size
    flat = pieces.reshaped(pieces.number("Mod", shifted, base, INT32), digits.shape if whole else [-1])
    if not whole:
        flat = pieces.first(flat, digits.size)
        flat = flat if digits.ndim == 1 else pieces.reshaped(flat, digits.shape)
    return flat if to == INT32 else pieces.cast(flat, to)


@functools.cache
def _choices(span: int) -> tuple[tuple[int, ...], ...]:
    """Bases of planes that together hold ``span`` numbers."""
    found = []
    for count in range(1, 5):
        for bases in itertools.combinations_with_replacement(PLANE_BITS, count):
            if math.prod(bases) >= span and math.prod(bases[:-1]) < span:
                found.append(bases)
    return tuple(found)


def _planes(span: int, count: int) -> tuple[int, ...]:
    return min(_choices(span), key=lambda bases: _planes_bytes(bases, count))


def _planes_bytes(bases: Sequence[int], count: int) -> float:
    return sum(
        PLANE_BITS[base] * count / 8 + (DIGITS_BYTES if base in DIGITS else PLANE_BYTES) for base in bases
    )


def _dense_bytes(span: int, count: int) -> float:
    return PLANE_BYTES if span == 1 or not count else _planes_bytes(_planes(span, count), count)


def _likely_mask_bytes(chosen: int, count: int) -> float:
    """About what a mask takes: gaps a tenth more than the information in them, or a bit each."""
    share = chosen / count
    information = -count * (share * math.log2(share) + (1 - share) * math.log2(1 - share)) / 8
    return min(count / 8 + DIGITS_BYTES, 1.1 * information + GAP_BYTES)


def _mask_bytes(chosen: NDArray[np.bool_]) -> tuple[float, _Gaps | None]:
    """What the best form of places takes, and their distances, if these are it; else bits."""
    best: tuple[float, _Gaps | None] = (len(chosen) / 8 + DIGITS_BYTES, None)
    between = np.diff(np.flatnonzero(chosen), prepend=-1) - 1
    for bits in GAP_BITS:
        escape = 2**bits - 1
        escapes = between // escape
        total = len(between) + int(escapes.sum())
        needed = bits * total / 8 + GAP_BYTES
        if needed < best[0]:
            codes = np.full(total, escape)
            codes[np.cumsum(escapes + 1) - 1] = between % escape
            best = (needed, _Gaps(codes, escape))
    return best
