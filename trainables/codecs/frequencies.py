"""Static order-0 models: how often each symbol occurs, rounded so that the table itself stays small.

A table is worth its bytes only for tensors large enough, and students have tensors of a few hundred
weights. So a table is described by its *form*: neighbouring symbols may share one entry, and an entry
is a tiny floating-point number. The encoder tries the forms and keeps the one with the smallest sum
of table and coded symbols.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from trainables.codecs.binary import Reader, pack_bits, packed_size, unpack_bits

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

MAX_SHIFT = 7
"""``2^shift`` neighbouring symbols share an entry."""


class Frequencies(NamedTuple):
    """A model and what using it costs.

    Attributes:
        weights: float64, shape (symbols,), whole numbers; a probability is a weight over their sum.
        table: the model as stored.
        bits: length of the table and of the symbols coded under it, estimated.
    """

    weights: np.ndarray
    table: bytes
    bits: float


def fit_frequencies(counts: np.ndarray) -> Frequencies:
    """The cheapest model of symbols that occur ``counts`` (symbols,) times; at least one occurs."""
    total = int(counts.sum())
    best: Frequencies | None = None
    for shift in range(MAX_SHIFT + 1):
        if shift and counts.size < 2 ** (shift + 1):
            break
        sizes = _group_sizes(counts.size, shift)
        groups = np.add.reduceat(counts, np.arange(0, counts.size, 2**shift))
        occurring = groups > 0
        share = groups[occurring]
        # No model of these groups codes below their entropy.
        floor = float((share * np.log2(total * sizes[occurring] / share)).sum())
        density = groups / sizes
        top = density.max()
        for number, (width, _) in enumerate(ENTRY_BITS):
            table_bits = 8 + 8 * packed_size(groups.size * width, 1)
            if best is not None and table_bits + floor >= best.bits:
                break
            levels, boundaries = _levels(number)
            entries = 1 + np.searchsorted(boundaries, density * (levels[-1] / top))
            entries[~occurring] = 0
            weights = levels[entries]
            mass = float((weights * sizes).sum())
            bits = table_bits + float((share * np.log2(mass / weights[occurring])).sum())
            if best is None or bits < best.bits:
                table = bytes([shift << 4 | number]) + _pack_entries(entries, width)
                best = Frequencies(np.repeat(weights, sizes), table, bits)
    assert best is not None
    return best


def read_frequencies(reader: Reader, symbols: int) -> np.ndarray:
    """The ``weights`` of a stored table; ``ValueError`` if it is none."""
    form = reader.byte()
    shift, number = form >> 4, form & 15
    if shift > MAX_SHIFT or number >= len(ENTRY_BITS):
        raise ValueError(f"unknown form of frequency table {form}")
    sizes = _group_sizes(symbols, shift)
    width = ENTRY_BITS[number][0]
    data = reader.take(packed_size(sizes.size * width, 1))
    weights = np.repeat(_levels(number)[0][_unpack_entries(data, sizes.size, width)], sizes)
    if not weights.any():
        raise ValueError("a frequency table is zero throughout")
    return weights


@functools.cache
def _levels(number: int) -> tuple[np.ndarray, np.ndarray]:
    """What the entries stand for, and the geometric means between those of 1, 2, 3, ...

    Entry 0 is zero; entry ``c`` is ``(2^m + f) * 2^e`` with ``c - 1 = e * 2^m + f``.
    """
    width, mantissa = ENTRY_BITS[number]
    code = np.arange(2**width - 1)
    steps = 2**mantissa
    levels = (steps + code % steps) * 2.0 ** (code // steps)
    return np.concatenate([[0.0], levels]), np.sqrt(levels[1:] * levels[:-1])


def _group_sizes(symbols: int, shift: int) -> np.ndarray:
    starts = np.arange(0, symbols, 2**shift)
    return np.minimum(symbols - starts, 2**shift)


def _pack_entries(entries: np.ndarray, width: int) -> bytes:
    bits = entries[:, None] >> np.arange(width) & 1
    return pack_bits(bits.astype(np.uint8).reshape(-1), 1)


def _unpack_entries(data: bytes, count: int, width: int) -> np.ndarray:
    bits = unpack_bits(data, count * width, 1).reshape(count, width)
    return bits.astype(np.int64) @ (1 << np.arange(width))
