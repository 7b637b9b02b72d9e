"""Tensors whose groups have bits of their own, read."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from rayduce_reader.ans import SEED_BYTES, AnsDecoder
from rayduce_reader.binary import Reader, packed_size, unpack_bits
from rayduce_reader.contexts import read_model
from rayduce_reader.forms import MixedCodes, widths_of
from rayduce_reader.frequencies import read_frequencies
from rayduce_reader.layout import FLOAT32, array_from_bytes, read_shape
from rayduce_reader.positions import read_positions
from rayduce_reader.segments import Segments, shape_segments

MIXED = 128
"""Set in the first byte of such a record, and of no other that is quantized."""

HAS_KEEP, GAPS, HAS_GROUPS = 1, 2, 4
MOST_BITS = 15
SYMBOL_BITS = 8

PACKED = 255
"""In place of the frequency table of levels that are stored as they are."""

ELEMENT_BYTES = 16
"""What reading an element takes: its level in parts and put together, its bits, its place in the mask, and
in the end float32."""

GROUP_BYTES = 24
"""Of a group: its bits, as symbol and as they are, with temporaries."""

ENDS_BYTES = 8


class _Width(NamedTuple):
    """Bits that occur; ``weights`` of the symbols, None where they are packed."""

    bits: int
    weights: np.ndarray | None

    @property
    def symbol_bits(self) -> int:
        return min(self.bits, SYMBOL_BITS)

    @property
    def plain_bits(self) -> list[int]:
        """Of each part of a level that is among the plain bytes."""
        lower = self.bits - self.symbol_bits
        return ([] if self.weights is not None else [self.symbol_bits]) + ([lower] if lower else [])

    def plain_size(self, count: int) -> int:
        return sum(packed_size(count, bits) for bits in self.plain_bits)


def decode_mixed(reader: Reader) -> MixedCodes:
    """The tensor in a record of mixed bits, from a reader that stands before it.

    Raises:
        ValueError: it is none, or takes more memory than the reader has.
    """
    flags = reader.byte()
    shape, low = read_shape(reader)
    elements = math.prod(shape)
    reader.memory.spend(ELEMENT_BYTES * elements, f"a tensor of mixed bits of {elements} elements")
    if flags & ~(MIXED | HAS_KEEP | GAPS | HAS_GROUPS) or low or flags & (HAS_KEEP | GAPS) == GAPS:
        raise ValueError(f"unknown flags {flags} or form {low} of a tensor of mixed bits")
    group_size = reader.varint() if flags & HAS_GROUPS else None
    groups = group_count(elements, group_size)
    reader.memory.spend(GROUP_BYTES * groups, f"bits of {groups} groups")
    kept, pop_keep = elements, None
    if flags & HAS_KEEP:
        kept = reader.varint()
        if kept > elements:
            raise ValueError(f"{kept} of {elements} elements are kept")
        pop_keep = read_positions(reader, shape, kept, bool(flags & GAPS))
    occurring, pop_bits = _read_bits(reader, shape, group_size, groups)
    widths = [_read_width(reader, width) for width in occurring]
    size = reader.varint()
    if size < ENDS_BYTES:
        raise ValueError(f"{size} plain bytes do not hold a tensor's ends")
    plain = bytes(reader.take(size - SEED_BYTES))
    stream = AnsDecoder(reader.rest())
    keep = None if pop_keep is None else pop_keep(stream).reshape(shape)
    bits = pop_bits(stream)
    of_element = widths_of(bits, group_size, shape, keep)
    counts = [int(np.count_nonzero(of_element == width.bits)) for width in widths]
    uppers = [
        None if width.weights is None else stream.pop(width.weights, count)
        for width, count in zip(widths, counts, strict=True)
    ]
    rest = Reader(plain + stream.finish(SEED_BYTES))
    offset, scale = (array_from_bytes(rest.take(ENDS_BYTES // 2), FLOAT32, (1,)) for _ in range(2))
    index = np.empty(kept, dtype=np.int16)
    for width, count, upper in zip(widths, counts, uppers, strict=True):
        index[of_element == width.bits] = _join(width, count, upper, rest)
    rest.finish()
    return MixedCodes(index, shape, bits, group_size, offset, scale, keep)


def _join(width: _Width, count: int, upper: np.ndarray | None, plain: Reader) -> np.ndarray:
    """The levels of one number of bits, int16."""
    parts = [
        unpack_bits(plain.take(packed_size(count, bits)), count, bits).astype(np.int16)
        for bits in width.plain_bits
    ]
    if upper is not None:
        parts.insert(0, upper.astype(np.int16))
    return parts[0] if len(parts) == 1 else (parts[0] << width.bits - SYMBOL_BITS) + parts[1]


def _read_bits(
    reader: Reader, shape: tuple[int, ...], group_size: int | None, groups: int
) -> tuple[list[int], Callable[[AnsDecoder], np.ndarray]]:
    """The numbers of bits that occur, and what pops those of each group, uint8 (groups,)."""
    bitmap = int.from_bytes(reader.take(2), "little")
    occurring = [width for width in range(1, MOST_BITS + 1) if bitmap >> width - 1 & 1]
    if bitmap >> MOST_BITS or bool(occurring) != bool(groups):
        raise ValueError(f"{groups} groups do not have the bits {bitmap:#x}")
    if len(occurring) < 2:
        return occurring, lambda stream: np.full(groups, sum(occurring), dtype=np.uint8)
    pop = read_model(reader, groups, MOST_BITS, group_segments(shape, group_size))

    def pop_known(stream: AnsDecoder) -> np.ndarray:
        bits = pop(stream) + np.uint8(1)
        if np.unique(bits).tolist() != occurring:
            raise ValueError(f"the bits of groups are not those announced, {bitmap:#x}")
        return bits

    return occurring, pop_known


def _read_width(reader: Reader, width: int) -> _Width:
    if reader.peek() == PACKED:
        reader.byte()
        return _Width(width, None)
    return _Width(width, read_frequencies(reader, 1 << min(width, SYMBOL_BITS)))


def group_segments(shape: tuple[int, ...], group_size: int | None) -> dict[int, Segments]:
    """Rows and columns of groups, where groups do not run across rows."""
    row = math.prod(shape[1:])
    if group_size is None or not shape or not row or row % group_size:
        return {}
    return dict(shape_segments((shape[0], row // group_size)))


def group_count(elements: int, group_size: int | None) -> int:
    """Groups that ``elements`` are cut into."""
    if group_size == 0:
        raise ValueError("group_size must be at least 1, got 0")
    return min(elements, 1) if group_size is None else -(-elements // group_size)
