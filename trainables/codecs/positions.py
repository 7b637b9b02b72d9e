"""Where the kept elements of a masked tensor are, as streams for the entropy coder."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from trainables.codecs.ans import UNIFORM_BYTES, AnsDecoder
from trainables.codecs.binary import Reader, pack_bits, packed_size, unpack_bits
from trainables.codecs.contexts import fit_model, read_model
from trainables.codecs.frequencies import fit_frequencies, read_frequencies
from trainables.codecs.segments import shape_segments

DIRECT = 16  # gaps below this are their own token
MANTISSA = 2  # bits of a longer gap, behind its leading one, that are part of its token
LARGE, FEWEST_GAPS = 2**18, 8  # gaps of a large tensor are not tried if they are shorter on average
MAX_TOKENS = DIRECT + (32 - 4 << MANTISSA)  # gaps are below 2^32


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


def read_positions(
    reader: Reader, shape: tuple[int, ...], kept: int, gaps: bool
) -> Callable[[AnsDecoder], np.ndarray]:
    """Read the ``table`` of :func:`code_positions`; the result pops the mask, bool (elements,)."""
    elements = math.prod(shape)
    if gaps:
        symbols = reader.byte() + 1
        if not 2 <= symbols <= MAX_TOKENS or not kept:
            raise ValueError(f"gaps of {kept} elements have 2 to {MAX_TOKENS} tokens, got {symbols}")
        weights = read_frequencies(reader, symbols)
        return lambda stream: _pop_gaps(stream, weights, elements, kept)
    if kept in (0, elements):
        return lambda stream: np.full(elements, kept > 0)
    pop = read_model(reader, elements, 2, shape_segments(shape))
    return lambda stream: _checked(pop(stream).view(np.bool_), kept)


def _checked(keep: np.ndarray, kept: int) -> np.ndarray:
    if np.count_nonzero(keep) != kept:
        raise ValueError(f"a mask keeps {np.count_nonzero(keep)} elements where {kept} are announced")
    return keep


def _pop_gaps(stream: AnsDecoder, weights: np.ndarray, elements: int, kept: int) -> np.ndarray:
    gaps = stream.pop(weights, kept).astype(np.int64)
    long = gaps >= DIRECT
    far = gaps[long] - DIRECT
    widths = (far >> MANTISSA) + 4 - MANTISSA
    size = packed_size(int(widths.sum()), 1)
    if size > stream.size + 8:  # before the bits are spread out; the coder's own state holds at most 8 bytes
        raise ValueError(f"gaps need {size} bytes where {stream.size} are left")
    extra = stream.pop(UNIFORM_BYTES, size).tobytes()
    gaps[long] = ((1 << MANTISSA) + (far & 3) << widths) + _unpack_ragged(extra, widths)
    positions = np.cumsum(gaps + 1) - 1
    if positions[-1] >= elements:
        raise ValueError(f"a kept element lies at {positions[-1]} of {elements}")
    keep = np.zeros(elements, dtype=np.bool_)
    keep[positions] = True
    return keep


def _pack_ragged(values: np.ndarray, widths: np.ndarray) -> bytes:
    """The ``widths`` lowest bits of each value, one after the other."""
    bits = np.repeat(values, widths) >> _places(widths) & 1
    return pack_bits(bits.astype(np.uint8), 1)


def _unpack_ragged(data: bytes, widths: np.ndarray) -> np.ndarray:
    places = _places(widths)
    bits = unpack_bits(data, places.size, 1).astype(np.int64) << places
    total = np.concatenate([[0], np.cumsum(bits)])
    ends = np.cumsum(widths)
    return total[ends] - total[ends - widths]


def _places(widths: np.ndarray) -> np.ndarray:
    """0, 1, ..., w - 1 for each width w."""
    starts = np.repeat(np.cumsum(widths) - widths, widths)
    return np.arange(starts.size) - starts
