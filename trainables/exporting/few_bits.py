"""Weights of few bits in ONNX: what a packed file holds of a tensor, and how its values come of that.

The operations are those of ``decode()``, in its order and in float32, so the values are the same, bit by bit.
They read nothing but stored tensors: runtimes carry them out once, as they load the file.
"""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainables.exporting.pieces import BOOL, FLOAT, INT32, Pieces
from trainables.exporting.whole_numbers import picked, spread, write_mask, write_numbers
from trainables.quantizers.base import NO_GROUP, Codes, Dense, Grouped, MixedCodes, Stored

DENSE_SHARE = 0.95
"""Of numbers that are not zero, above which their places take more than the zeros."""


def write_tensor(pieces: Pieces, stored: Stored | Grouped) -> str | None:
    """The name of the float32 values of ``stored``, in order; None if few bits do not hold them.

    They have one dimension, or two: rows of a bucket.
    """
    if isinstance(stored, Grouped):
        return _grouped(pieces, stored)
    if not math.prod(stored.shape):
        return None
    if isinstance(stored, Dense):
        return _dense(pieces, stored)
    if isinstance(stored, MixedCodes):
        return _mixed(pieces, stored)
    values = _codes(pieces, stored)
    return values if stored.keep is None else _where(pieces, values, stored.keep)


def _where(pieces: Pieces, values: str, keep: Tensor) -> str:
    chosen = keep.reshape(-1).numpy()
    if chosen.all():
        return values
    if not chosen.any():
        return pieces.filled(0, len(chosen), FLOAT)
    return spread(pieces, values, write_mask(pieces, chosen), FLOAT)


def _codes(pieces: Pieces, codes: Codes) -> str:
    count = codes.index.numel()
    if not count:
        return ""
    index = codes.index.numpy().astype(np.int64)
    bucket = count if codes.bucket_size is None else min(codes.bucket_size, count)
    buckets = codes.scale.numel()
    missing = buckets * bucket - count
    # Scales stand right behind the numbers where they can: so other tools know a quantized tensor.
    index = index.reshape(buckets, bucket) if buckets > 1 and not missing else index
    if codes.codebook is not None:
        numbers = write_numbers(pieces, index, INT32)
        values = pieces.add("Gather", pieces.keep(codes.codebook.numpy()), numbers)
    elif codes.zero is not None:
        values = write_numbers(pieces, index - codes.zero, FLOAT)
    else:
        values = write_numbers(pieces, index, FLOAT)
        if codes.bits > 1:
            values = pieces.number("Div", values, 2**codes.bits - 1, FLOAT)
    if missing:
        values = pieces.add("Pad", values, pieces.constant(np.array([0, missing], np.int64)))
        values = pieces.reshaped(values, [buckets, bucket])
    values = pieces.add("Mul", values, _per_bucket(pieces, codes.scale))
    if codes.offset is not None and codes.offset.any():
        values = pieces.add("Add", values, _per_bucket(pieces, codes.offset))
    if missing or (buckets > 1 and codes.keep is not None):
        values = pieces.reshaped(values, [-1])
    return pieces.first(values, count) if missing else values


def _per_bucket(pieces: Pieces, numbers: Tensor) -> str:
    """Scales or offsets in a column, as float32; equal ones are stored once."""
    column = numbers.numpy().reshape(-1, 1)
    if len(column) == 1 or (column == column[0]).all():
        return pieces.constant(column[0, :1].astype(np.float32))
    name = pieces.keep(column)
    return name if column.dtype == np.float32 else pieces.cast(name, FLOAT)


def _mixed(pieces: Pieces, codes: MixedCodes) -> str:
    """The levels of each number of bits are divided by theirs, and put where the groups of so many are."""
    chosen = None if codes.keep is None or codes.keep.all() else codes.keep.reshape(-1).numpy()
    if not codes.index.numel():
        return pieces.filled(0, math.prod(codes.shape), FLOAT)
    widths = codes.widths().numpy()
    occurring = np.unique(widths)
    kept = None if chosen is None else write_mask(pieces, chosen)
    of_element = _widths(pieces, codes, occurring) if len(occurring) > 1 else ""
    values = ""
    for number, width in enumerate(occurring.tolist()):
        levels = write_numbers(pieces, codes.index.numpy()[widths == width], FLOAT)
        if width > 1:
            levels = pieces.number("Div", levels, 2**width - 1, FLOAT)
        if of_element:
            mask = _equal(pieces, of_element, number)
            mask = mask if kept is None else pieces.add("Mul", mask, kept)
            levels = spread(pieces, levels, mask, FLOAT)
        values = pieces.add("Add", values, levels) if values else levels
    for kind, factor in (("Mul", codes.scale), ("Add", codes.offset)):
        values = pieces.add(kind, values, pieces.constant(factor.numpy()))
    if kept is None:
        return values
    if not of_element:
        return spread(pieces, values, kept, FLOAT)
    zero = pieces.constant(np.zeros(1, np.float32))
    return pieces.add("Where", pieces.cast(kept, BOOL), values, zero)


def _widths(pieces: Pieces, codes: MixedCodes, occurring: NDArray[np.uint8]) -> str:
    """Which of the numbers of bits that occur each element has."""
    # Of a group that keeps nothing the bits mean nothing.
    numbers = np.searchsorted(occurring, codes.bits.numpy()).clip(max=len(occurring) - 1)
    of_group = write_numbers(pieces, numbers, INT32)
    elements = math.prod(codes.shape)
    assert codes.group_size is not None  # one group has one number of bits
    column = pieces.reshaped(of_group, [-1, 1])
    wide = pieces.add("Expand", column, pieces.constant(np.array([len(numbers), codes.group_size], np.int64)))
    every = pieces.reshaped(wide, [-1])
    if len(numbers) * codes.group_size != elements:
        every = pieces.first(every, elements)
    return every


def _equal(pieces: Pieces, numbers: str, number: int) -> str:
    """1 where ``numbers`` are ``number`` and 0 elsewhere."""
    return pieces.cast(pieces.number("Equal", numbers, number, INT32), INT32)


def _dense(pieces: Pieces, stored: Dense) -> str | None:
    """Numbers in half precision as such; of a tensor with many zeros, the others and where they are."""
    values = stored.values.detach().reshape(-1)
    if values.dtype not in (torch.float16, torch.bfloat16, torch.float32):
        return None
    numbers = values.float().numpy()
    chosen = numbers != 0
    if not chosen.any():
        return pieces.filled(0, len(chosen), FLOAT)
    if chosen.mean() > DENSE_SHARE:
        return _floats(pieces, numbers)
    return spread(pieces, _floats(pieces, numbers[chosen]), write_mask(pieces, chosen), FLOAT)


def _floats(pieces: Pieces, numbers: NDArray[np.float32]) -> str:
    """``numbers`` in the shorter type that holds all of them, or as they are."""
    for short in (np.float16, ml_dtypes.bfloat16):
        with np.errstate(over="ignore", invalid="ignore"):
            narrow = numbers.astype(short)
        if (narrow.astype(np.float32) == numbers).all():
            return pieces.cast(pieces.keep(narrow), FLOAT)
    return pieces.keep(numbers)


def _grouped(pieces: Pieces, stored: Grouped) -> str | None:
    """The rows of each group put where its number stands."""
    numbers = stored.rows.numpy().astype(np.int64)
    numbers[numbers == NO_GROUP] = len(stored.groups)
    row = math.prod(stored.groups[0].shape[1:])
    if not row:
        return None
    of_row = write_numbers(pieces, numbers, INT32)
    zero = pieces.constant(np.zeros(1, np.float32))
    nothing = pieces.add("Expand", zero, pieces.constant(np.array([1, row], np.int64)))
    values = ""
    for number, group in enumerate(stored.groups):
        rows = write_tensor(pieces, group)
        if rows is None:
            raise ValueError(f"a group of rows of {group.shape} has no values")
        matrix = pieces.add("Concat", nothing, pieces.reshaped(rows, [-1, row]), axis=0)
        made = picked(pieces, matrix, _equal(pieces, of_row, number))
        values = pieces.add("Add", values, made) if values else made
    return pieces.reshaped(values, [-1])
