"""Where the kept elements of a masked tensor are."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from rayduce_reader.ans import UNIFORM_BYTES, AnsDecoder
from rayduce_reader.binary import Reader, packed_size, unpack_bits
from rayduce_reader.contexts import read_model
from rayduce_reader.frequencies import read_frequencies
from rayduce_reader.segments import shape_segments

DIRECT = 16  # gaps below this are their own token
MANTISSA = 2  # bits of a longer gap, behind its leading one, that are part of its token
GAPS_AT_A_TIME = 2**14  # turned into places: what they take on the way stays small
MAX_TOKENS = DIRECT + (32 - 4 << MANTISSA)  # gaps are below 2^32

LOWER_BITS = np.maximum((np.arange(MAX_TOKENS) - DIRECT >> MANTISSA) + 4 - MANTISSA, 0).astype(np.uint8)
LOWER_BITS[:DIRECT] = 0
"""Bits of a gap that follow its token."""


def read_positions(
    reader: Reader, shape: tuple[int, ...], kept: int, gaps: bool
) -> Callable[[AnsDecoder], np.ndarray]:
    """Read the table of positions; the result pops the mask, bool (elements,)."""
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
    lower = int(LOWER_BITS[tokens].sum(dtype=np.int64))
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


def _unpack_ragged(bits: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Values of so many bits each, out of ``bits``, uint8 (sum of ``widths``,), lowest first."""
    total = np.concatenate([[0], np.cumsum(bits.astype(np.int64) << places_of(widths))])
    ends = np.cumsum(widths)
    return total[ends] - total[ends - widths]


def places_of(widths: np.ndarray) -> np.ndarray:
    """0, 1, ..., w - 1 for each width w."""
    starts = np.repeat(np.cumsum(widths) - widths, widths)
    return np.arange(starts.size) - starts
