"""What a file holds of a tensor: its levels and what makes values of them, or its values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

PIECE = 2**16
"""Elements that are decoded at a time: they stay in the processor's cache."""

NO_GROUP = 255
"""In place of a group's number: the row is zero."""

ROWS = "[rows]"
"""Ends the name of the tensor that says which group each row is in; no parameter's name holds a bracket."""


@dataclass(frozen=True, eq=False)
class Codes:
    """A quantized tensor.

    The ``n`` kept elements, in row-major order, are cut into buckets of ``bucket_size`` consecutive
    values (the last may be shorter). What element ``i`` of bucket ``j`` is worth depends on the grid:

    - even levels between two ends: ``scale[j] * (index[i] / (2^bits - 1)) + offset[j]``;
    - a codebook: ``scale[j] * codebook[index[i]] + offset[j]``;
    - a centred grid, which holds an exact zero: ``scale[j] * (index[i] - zero)``.

    Elements not kept are zero.

    Attributes:
        index: uint8, shape (n,), each below ``2^bits`` (below ``len(codebook)`` with a codebook).
        shape: of the decoded tensor; any rank, empty allowed.
        bits: in [1, 8].
        bucket_size: at least 1, or None for one bucket.
        offset: float16 or float32, shape (ceil(n / bucket_size),); None on a centred grid.
        scale: the same shape as ``offset`` and the same dtype.
        codebook: float32, shape (2..256,), or None.
        keep: bool, of ``shape``, True where an element is kept; None keeps all.
        zero: the level that is worth zero, below ``2^bits``, on a centred grid; None elsewhere.
    """

    index: np.ndarray
    shape: tuple[int, ...]
    bits: int
    bucket_size: int | None
    offset: np.ndarray | None
    scale: np.ndarray
    codebook: np.ndarray | None = None
    keep: np.ndarray | None = None
    zero: int | None = None

    @property
    def symbols(self) -> int:
        """How many values an index may take."""
        return 2**self.bits if self.codebook is None else len(self.codebook)

    def decode(self) -> np.ndarray:
        """The float32 array these codes stand for, of ``shape``; the same bits on every machine.

        It is made piece by piece, so that it takes little more memory than the result.
        """
        elements = math.prod(self.shape)
        keep = None if self.keep is None else self.keep.reshape(-1)
        decoded = np.zeros(elements, dtype=np.float32)
        levels, first = self._levels(), 0
        for begin in range(0, elements, PIECE):
            piece = decoded[begin : begin + PIECE]
            if keep is None:
                self._write_values(first, levels, piece)
                first += piece.size
                continue
            kept = keep[begin : begin + PIECE]
            values = np.empty(int(np.count_nonzero(kept)), dtype=np.float32)
            self._write_values(first, levels, values)
            piece[kept] = values
            first += values.size
        return decoded.reshape(self.shape)

    def _write_values(self, begin: int, levels: np.ndarray, values: np.ndarray) -> None:
        """Write into ``values`` what the kept elements from ``begin`` on are worth."""
        end = begin + values.size
        np.take(levels, self.index[begin:end], out=values)
        bucket = max(1, self.index.size if self.bucket_size is None else self.bucket_size)
        first, last = begin // bucket, -(-end // bucket)
        ends = np.clip(np.arange(first, last + 1) * bucket, begin, end)
        counts = ends[1:] - ends[:-1]
        with np.errstate(all="ignore"):  # what a file holds is finite, what is made by hand need not be
            values *= np.repeat(self.scale[first:last].astype(np.float32), counts)
            if self.offset is not None:
                values += np.repeat(self.offset[first:last].astype(np.float32), counts)

    def _levels(self) -> np.ndarray:
        if self.codebook is not None:
            return self.codebook
        numbers = np.arange(2**self.bits, dtype=np.float32)
        if self.zero is not None:
            return numbers - np.float32(self.zero)
        # Divided one by one, as training's forward pass does, so that both give the same bits.
        return numbers / np.float32(2**self.bits - 1)


@dataclass(frozen=True, eq=False)
class MixedCodes:
    """A quantized tensor whose groups of elements have bits of their own.

    All elements, dropped ones included, are cut in row-major order into groups of ``group_size`` (the last
    may be shorter). A kept element ``i`` in a group of ``b`` bits is worth
    ``index[i] / (2^b - 1) * scale + offset``, in float32 and in this order; others are zero.

    Attributes:
        index: int16, shape (n,), of the ``n`` kept elements, each below ``2^b``.
        shape: of the decoded tensor; any rank, empty allowed.
        bits: uint8, in [1, 15], shape (groups,); of a group without a kept element they mean nothing.
        group_size: at least 1, or None for one group.
        offset: float32, shape (1,).
        scale: float32, shape (1,).
        keep: bool, of ``shape``, True where an element is kept; None keeps all.
    """

    index: np.ndarray
    shape: tuple[int, ...]
    bits: np.ndarray
    group_size: int | None
    offset: np.ndarray
    scale: np.ndarray
    keep: np.ndarray | None = None

    def decode(self) -> np.ndarray:
        """The float32 array of ``shape``; the same bits on every machine. It is made piece by piece."""
        widths = widths_of(self.bits, self.group_size, self.shape, self.keep)
        values = np.empty(self.index.size, dtype=np.float32)
        steps = np.array([1.0, *(2.0**width - 1 for width in range(1, 16))], dtype=np.float32)
        with np.errstate(all="ignore"):
            for begin in range(0, values.size, PIECE):
                part = slice(begin, begin + PIECE)
                np.divide(self.index[part], steps[widths[part]], out=values[part], dtype=np.float32)
                values[part] *= self.scale
                values[part] += self.offset
        return scattered(values, self.keep, self.shape)


@dataclass(frozen=True, eq=False)
class Dense:
    """A tensor stored by value: full precision, exempt, or pruned only.

    Attributes:
        values: of the full shape; zero where not kept. NumPy has no bfloat16: of such a tensor they are
            its bit patterns, uint16.
        keep: bool of the same shape, or None keeps all.
        bfloat16: whether ``values`` are such patterns; default False.
    """

    values: np.ndarray
    keep: np.ndarray | None = None
    bfloat16: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tensor."""
        return self.values.shape

    def decode(self) -> np.ndarray:
        """The values in their own dtype; bfloat16 as float32, which holds all of its values."""
        if not self.bfloat16:
            return self.values
        # Of an array without dimensions NumPy's arithmetic makes a scalar.
        return np.asarray(self.values.astype(np.uint32) << np.uint32(16)).view(np.float32)


Form = Codes | MixedCodes | Dense
"""What a file holds of one tensor."""


def widths_of(
    bits: np.ndarray, group_size: int | None, shape: tuple[int, ...], keep: np.ndarray | None
) -> np.ndarray:
    """Bits of each kept element of a tensor whose groups have ``bits``, uint8, shape (n,)."""
    elements = math.prod(shape)
    size = elements if group_size is None else min(group_size, elements)
    every = np.repeat(bits, size)[:elements]
    return every if keep is None else every[keep.reshape(-1)]


def scattered(values: np.ndarray, keep: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    """The kept ``values`` (n,) where ``keep`` is True; zero elsewhere."""
    if keep is None:
        return values.reshape(shape)
    whole = np.zeros(shape, dtype=values.dtype)
    whole[keep] = values
    return whole


def decode_groups(rows: np.ndarray, groups: Sequence[Form]) -> np.ndarray:
    """The float32 array whose rows are in ``groups``, each stored as a tensor of its own.

    Args:
        rows: uint8, shape (n,), the number of the group that each row is in; every group has one. Rows of
            the number :data:`NO_GROUP` are zero, and nothing else is stored of them.
        groups: their rows in the order in which they stand in the tensor, same trailing dimensions.

    Raises:
        ValueError: rows and groups do not fit each other.
    """
    sizes = [int(np.count_nonzero(rows == number)) for number in range(len(groups))]
    shapes = [(size, *groups[0].shape[1:]) for size in sizes]
    zero = int(np.count_nonzero(rows == NO_GROUP))
    if sum(sizes) + zero != len(rows) or shapes != [tuple(group.shape) for group in groups]:
        raise ValueError(f"groups of {[group.shape for group in groups]} are not rows of {sizes}")
    made = np.zeros((len(rows), *shapes[0][1:]), dtype=np.float32)
    for number, group in enumerate(groups):
        made[rows == number] = group.decode().astype(np.float32, copy=False)
    return made


def joined(tensors: Mapping[str, Form]) -> dict[str, Form]:
    """``tensors`` of a file, those in groups of rows put together.

    Raises:
        ValueError: groups are missing, or do not fit.
    """
    found = dict(tensors)
    for name in [name.removesuffix(ROWS) for name in tensors if name.endswith(ROWS)]:
        rows = found.pop(name + ROWS).decode()
        if rows.dtype != np.uint8 or rows.ndim != 1 or not len(rows):
            raise ValueError(f"{name}{ROWS} must name the group of each row, got {rows.dtype} {rows.shape}")
        named = rows[rows != NO_GROUP]
        if not len(named):
            raise ValueError(f"{name}{ROWS} names no group")
        numbers = range(int(named.max()) + 1)
        if missing := [number for number in numbers if f"{name}[{number}]" not in found]:
            raise ValueError(f"{name}[{missing[0]}] is missing")
        groups = [found.pop(f"{name}[{number}]") for number in numbers]
        found[name] = Dense(decode_groups(rows, groups))
    return found


def removed_elements(tensors: Mapping[str, Form]) -> int:
    """Elements of rows that are zero and not stored, see :data:`NO_GROUP`, of all tensors of a file."""
    removed = 0
    for name, rows in tensors.items():
        group = tensors.get(f"{name.removesuffix(ROWS)}[0]") if name.endswith(ROWS) else None
        if group is not None:
            removed += int(np.count_nonzero(rows.decode() == NO_GROUP)) * math.prod(group.shape[1:])
    return removed


def largest(form: Form) -> float:
    """A bound of the magnitudes in ``form``; NaN or infinite where one of its numbers is not finite."""
    if isinstance(form, Codes):
        scale = _largest(form.scale)
        offset = 0.0 if form.offset is None else _largest(form.offset)
        book = 0.0 if form.codebook is None else _largest(form.codebook)
        steps = 1.0 if form.zero is None else 2.0**form.bits
        return scale * max(book, steps) + offset + book
    if isinstance(form, MixedCodes):
        return _largest(form.scale) + _largest(form.offset)
    if form.bfloat16:
        return float((np.uint32(_largest_pattern(form.values)) << np.uint32(16)).view(np.float32))
    return _largest(form.values) if form.values.dtype.kind == "f" else 0.0


def _largest(values: np.ndarray) -> float:
    """The largest magnitude among ``values``: NaN if one is NaN, 0 of none."""
    if values.dtype == np.float16:
        return float(np.uint16(_largest_pattern(values)).view(np.float16))
    if not values.size:
        return 0.0
    with np.errstate(invalid="ignore"):
        return max(abs(float(values.min())), abs(float(values.max())))


def _largest_pattern(values: np.ndarray) -> int:
    """Of floats of 16 bits the largest pattern without its sign: that of a NaN if one is NaN, 0 of none.

    NumPy compares 32-bit floats and integers of any width at full speed, but not these.
    """
    if not values.size:
        return 0
    positive, negative = int(values.view(np.int16).max()), int(values.view(np.uint16).max())
    return max(positive, negative & 0x7FFF if negative >= 0x8000 else 0)
