"""Static order-0 models: how often each symbol occurs, rounded so that the table itself stays small.

A table is worth its bytes only for tensors large enough, and students have tensors of a few hundred
weights. So a table is described by its *form*: neighbouring symbols may share one entry, and an entry
is a tiny floating-point number. The encoder tries the forms and keeps the one with the smallest sum
of table and coded symbols.
"""

from __future__ import annotations

import bisect
import functools
import math
from typing import NamedTuple

import numpy as np
import torch

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

LARGE, MANY = 2**14, 16
ROUNDING = 0.02
"""Of ``LARGE`` symbols or more, ``MANY`` of them different, a form is not tried where ``ROUNDING / 4^m`` bits
per symbol would be too many. Rounding costs more in general; of few frequencies, it may cost nothing.
"""

PATIENCE = 2
"""Forms in a row that are worse than the one before, after which no better one is expected."""

TABLE_BYTES = 2**13
"""What reading a table takes: its entries, weights, and those of the entropy coder."""

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
    best_bits = np.inf
    best: tuple[int, int, np.ndarray] | None = None
    for shift in range(MAX_SHIFT + 1):
        if shift and counts.size < 2 ** (shift + 1):
            break
        sizes = _group_sizes(counts.size, shift)
        groups = np.add.reduceat(counts, np.arange(0, counts.size, 2**shift))
        occurring = np.flatnonzero(groups)
        share, widths = groups[occurring], sizes[occurring]
        density = share / widths
        relative = density / density.max()
        # No model of these groups codes below their entropy.
        floor = float(share @ np.log2(total / density))
        if floor >= best_bits:
            break  # larger groups are no better
        start = _usual_form(total, groups.size)
        rough = total >= LARGE and occurring.size >= MANY
        for forms in (range(start, -1, -1), range(start + 1, len(ENTRY_BITS))):
            worse = 0
            last = np.inf
            for number in forms:
                width, mantissa = ENTRY_BITS[number]
                table_bits = 8 + 8 * packed_size(groups.size * width, 1)
                if table_bits + floor >= best_bits:
                    if number > start:
                        break
                    continue
                if rough and table_bits + floor + ROUNDING * total / 4**mantissa >= best_bits:
                    continue
                levels, boundaries = _levels(number)
                entries = 1 + np.searchsorted(boundaries, relative * levels[-1])
                weights = levels[entries]
                bits = table_bits + total * math.log2(weights @ widths) - float(share @ np.log2(weights))
                if bits < best_bits:
                    whole = np.zeros(groups.size, dtype=np.int64)
                    whole[occurring] = entries
                    best_bits, best = bits, (shift, number, whole)
                worse = worse + 1 if bits > last else 0
                if worse == PATIENCE:
                    break
                last = bits
    assert best is not None
    shift, number, entries = best
    table = bytes([shift << 4 | number]) + _pack_entries(entries, ENTRY_BITS[number][0])
    weights = np.repeat(_levels(number)[0][entries], _group_sizes(counts.size, shift))
    return Frequencies(weights, table, best_bits)


def _usual_form(total: int, entries: int) -> int:
    """The form at which one more bit of mantissa would cost about what it saves."""
    mantissa = 0.5 * math.log2(max(1.0, 0.18 * total / entries))
    return min(bisect.bisect([bits for _, bits in ENTRY_BITS], mantissa), len(ENTRY_BITS) - 1)


def count_symbols(symbols: np.ndarray, size: int) -> np.ndarray:
    """How often each of 0, 1, ..., ``size`` - 1 occurs in uint8 ``symbols`` (n,): int64, (size,)."""
    if size == 2:
        ones = int(np.count_nonzero(symbols))
        return np.array([symbols.size - ones, ones])
    # NumPy would count a 64-bit copy, in several times as long.
    return torch.bincount(torch.from_numpy(symbols), minlength=size).numpy()


def read_frequencies(reader: Reader, symbols: int) -> np.ndarray:
    """The ``weights`` of a stored table; ``ValueError`` if it is none."""
    reader.memory.spend(TABLE_BYTES, "a frequency table")
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


def _unpack_entries(data: bytes | memoryview, count: int, width: int) -> np.ndarray:
    bits = unpack_bits(data, count * width, 1).reshape(count, width)
    return bits.astype(np.int64) @ (1 << np.arange(width))
