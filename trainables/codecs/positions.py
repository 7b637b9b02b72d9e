"""Where the kept elements of a masked tensor are, as streams for the entropy coder."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from trainables.codecs.ans import UNIFORM_BYTES, AnsDecoder
from trainables.codecs.binary import Reader, pack_bits, packed_size, unpack_bits
from trainables.codecs.contexts import fit_model, read_model
from trainables.codecs.frequencies import count_symbols, fit_frequencies, read_frequencies
from trainables.codecs.segments import shape_segments

DIRECT = 16  # gaps below this are their own token
MANTISSA = 2  # bits of a longer gap, behind its leading one, that are part of its token
LARGE, FEWEST_GAPS = 2**18, 8  # gaps of a large tensor are not tried if they are shorter on average
GAPS_AT_A_TIME = 2**14  # turned into places: what they take on the way stays small
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
    tokens = stream.pop(weights, kept)
    counts = count_symbols(tokens, weights.size)
    lower = int(sum(int(count) * _lower_bits(token) for token, count in enumerate(counts)))
    size = packed_size(lower, 1)
    if size > stream.size + 8:  # before the bits are spread out; the coder's own state holds at most 8 bytes
        raise ValueError(f"gaps need {size} bytes where {stream.size} are left")
    bits = unpack_bits(stream.pop(UNIFORM_BYTES, size).tobytes(), lower, 1)
    keep = np.zeros(elements, dtype=np.bool_)
    last, used = -1, 0
    for begin in range(0, kept, GAPS_AT_A_TIME):
        gaps = tokens[begin : begin + GAPS_AT_A_TIME].astype(np.int64)
        long = gaps >= DIRECT
        far = gaps[long] - DIRECT
        widths = (far >> MANTISSA) + 4 - MANTISSA
        end = used + int(widths.sum())
        gaps[long] = ((1 << MANTISSA) + (far & 3) << widths) + _unpack_ragged(bits[used:end], widths)
        positions = np.cumsum(gaps + 1) + last
        last, used = int(positions[-1]), end
        if last >= elements:
            raise ValueError(f"a kept element lies at {last} of {elements}")
        keep[positions] = True
    return keep


def _lower_bits(token: int) -> int:
    """Bits of a gap that follow its ``token``."""
    return 0 if token < DIRECT else (token - DIRECT >> MANTISSA) + 4 - MANTISSA


def _pack_ragged(values: np.ndarray, widths: np.ndarray) -> bytes:
    """The ``widths`` lowest bits of each value, one after the other."""
    bits = np.repeat(values, widths) >> _places(widths) & 1
    return pack_bits(bits.astype(np.uint8), 1)


def _unpack_ragged(bits: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Inverse of :func:`_pack_ragged`, of bits uint8 (sum of ``widths``,)."""
    total = np.concatenate([[0], np.cumsum(bits.astype(np.int64) << _places(widths))])
    ends = np.cumsum(widths)
    return total[ends] - total[ends - widths]


def _places(widths: np.ndarray) -> np.ndarray:
    """0, 1, ..., w - 1 for each width w."""
    starts = np.repeat(np.cumsum(widths) - widths, widths)
    return np.arange(starts.size) - starts
