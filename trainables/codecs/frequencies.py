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

from rayduce_reader.binary import packed_size
from rayduce_reader.frequencies import ENTRY_BITS, MAX_SHIFT, entry_levels, group_sizes
from trainables.codecs.binary import pack_bits

LARGE, MANY = 2**14, 16

ROUNDING = 0.02
"""Of ``LARGE`` symbols or more, ``MANY`` of them different, a form is not tried where ``ROUNDING / 4^m`` bits
per symbol would be too many. Rounding costs more in general; of few frequencies, it may cost nothing.
"""

PATIENCE = 2
"""Forms in a row that are worse than the one before, after which no better one is expected."""


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
        sizes = group_sizes(counts.size, shift)
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
                levels = entry_levels(number)
                entries = 1 + np.searchsorted(_boundaries(number), relative * levels[-1])
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
    weights = np.repeat(entry_levels(number)[entries], group_sizes(counts.size, shift))
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


@functools.cache
def _boundaries(number: int) -> np.ndarray:
    """The geometric means between what the entries 1, 2, 3, ... of a form stand for."""
    levels = entry_levels(number)[1:]
    return np.sqrt(levels[1:] * levels[:-1])


def _pack_entries(entries: np.ndarray, width: int) -> bytes:
    bits = entries[:, None] >> np.arange(width) & 1
    return pack_bits(bits.astype(np.uint8).reshape(-1), 1)
