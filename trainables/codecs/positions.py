"""Where the kept elements of a masked tensor are, as streams for the entropy coder."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from rayduce_reader.ans import UNIFORM_BYTES
from rayduce_reader.positions import DIRECT, MANTISSA, places_of
from rayduce_reader.segments import shape_segments
from trainables.codecs.binary import pack_bits
from trainables.codecs.contexts import fit_model
from trainables.codecs.frequencies import fit_frequencies

LARGE, FEWEST_GAPS = 2**18, 8  # gaps of a large tensor are not tried if they are shorter on average


class Positions(NamedTuple):
    """A mask, coded as ``gaps`` or as a bitmap."""

    gaps: bool
    table: bytes
    streams: list[tuple[np.ndarray, np.ndarray]]


def code_positions(keep: np.ndarray) -> Positions:
    """The mask ``keep``, bool of any shape, in the shorter of two forms.

    A bitmap has one symbol per element, under models of contexts: filters and input channels are pruned
    more or less. A gap is the number of dropped elements before a kept one; its token is the gap itself
    below 16, else its exponent and the two bits behind the leading one; the bits below those go into a
    stream of bytes. Pruned filters leave long runs, which gaps make cheap.
    """
    flat = keep.reshape(-1)
    kept = int(np.count_nonzero(flat))
    if kept in (0, flat.size):  # known from the count
        return Positions(False, b"", [])
    _, bitmap = fit_model([flat.view(np.uint8)], 2, shape_segments(keep.shape))
    if flat.size >= LARGE and kept * FEWEST_GAPS > flat.size:
        return Positions(False, bitmap.table, bitmap.streams)
    gaps = np.flatnonzero(flat)
    gaps[1:] -= gaps[:-1] + 1
    tokens = np.minimum(gaps, DIRECT).astype(np.uint8)
    long = tokens == DIRECT
    far = gaps[long]
    widths = np.frexp(far.astype(np.float64))[1] - 1 - MANTISSA
    tokens[long] = DIRECT + (widths + MANTISSA - 4 << MANTISSA) + (far >> widths) - (1 << MANTISSA)
    counts = np.bincount(tokens, minlength=2)
    frequencies = fit_frequencies(counts)
    if 8 + frequencies.bits + float(widths.sum()) >= bitmap.bits:
        return Positions(False, bitmap.table, bitmap.streams)
    extra = np.frombuffer(_pack_ragged(far, widths), dtype=np.uint8)
    table = bytes([counts.size - 1]) + frequencies.table
    return Positions(True, table, [(tokens, frequencies.weights), (extra, UNIFORM_BYTES)])


def _pack_ragged(values: np.ndarray, widths: np.ndarray) -> bytes:
    """The ``widths`` lowest bits of each value, one after the other."""
    bits = np.repeat(values, widths) >> places_of(widths) & 1
    return pack_bits(bits.astype(np.uint8), 1)
