"""Frequency tables: how often each symbol occurs, rounded so that the table itself stays small."""

from __future__ import annotations

import functools

import numpy as np

from rayduce_reader.binary import Reader, packed_size, unpack_bits

ENTRY_BITS = (
    (2, 0),
    (3, 0),
    (3, 1),
    (4, 1),
    (4, 2),
    (5, 2),
    (5, 3),
    (6, 3),
    (7, 4),
    (8, 4),
    (10, 6),
    (12, 8),
)
"""(width of an entry, of which mantissa), by the number stored in the form; part of the file format.

With ``m`` bits of mantissa an entry is off by at most one part in ``2^(m+1)``, which costs about
``0.06 / 4^m`` bits per symbol.
"""

TABLE_BYTES = 2**13
"""What reading a table takes: its entries, weights, and those of the entropy coder."""

MAX_SHIFT = 7
"""``2^shift`` neighbouring symbols share an entry."""


def read_frequencies(reader: Reader, symbols: int) -> np.ndarray:
    """The ``weights`` of a stored table; ``ValueError`` if it is none."""
    reader.memory.spend(TABLE_BYTES, "a frequency table")
    form = reader.byte()
    shift, number = form >> 4, form & 15
    if shift > MAX_SHIFT or number >= len(ENTRY_BITS):
        raise ValueError(f"unknown form of frequency table {form}")
    sizes = group_sizes(symbols, shift)
    width = ENTRY_BITS[number][0]
    data = reader.take(packed_size(sizes.size * width, 1))
    weights = np.repeat(entry_levels(number)[_unpack_entries(data, sizes.size, width)], sizes)
    if not weights.any():
        raise ValueError("a frequency table is zero throughout")
    return weights


@functools.cache
def entry_levels(number: int) -> np.ndarray:
    """What the entries of a form stand for.

    Entry 0 is zero; entry ``c`` is ``(2^m + f) * 2^e`` with ``c - 1 = e * 2^m + f``.
    """
    width, mantissa = ENTRY_BITS[number]
    code = np.arange(2**width - 1)
    steps = 2**mantissa
    levels = (steps + code % steps) * 2.0 ** (code // steps)
    return np.concatenate([[0.0], levels])


def group_sizes(symbols: int, shift: int) -> np.ndarray:
    """Symbols that share each entry."""
    starts = np.arange(0, symbols, 2**shift)
    return np.minimum(symbols - starts, 2**shift)


def _unpack_entries(data: bytes | memoryview, count: int, width: int) -> np.ndarray:
    bits = unpack_bits(data, count * width, 1).reshape(count, width)
    return bits.astype(np.int64) @ (1 << np.arange(width))
