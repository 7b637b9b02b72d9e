"""Tensors whose groups have bits of their own: the bits of each group, and the levels of each number of bits.

Levels of one number of bits are one context: they have a frequency table of their own, or are packed as they
are where that is shorter. Of levels of more than 8 bits the upper 8 are symbols; the lower ones, as good as
random, are packed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch

from trainables.codecs.ans import SEED_BYTES, AnsDecoder, ans_encode
from trainables.codecs.binary import Reader, pack_bits, packed_size, unpack_bits, varint
from trainables.codecs.contexts import fit_model, read_model
from trainables.codecs.frequencies import count_symbols, fit_frequencies, read_frequencies
from trainables.codecs.layout import (
    check_keep,
    read_shape,
    tensor_bytes,
    tensor_from_bytes,
    write_shape,
)
from trainables.codecs.positions import code_positions, read_positions
from trainables.codecs.segments import Segments, shape_segments
from trainables.quantizers.base import MixedCodes

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

Streams = list[tuple[np.ndarray, np.ndarray]]


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


def encode_mixed(codes: MixedCodes) -> bytes:
    """The record of ``codes``; see :func:`decode_mixed`.

    Raises:
        ValueError: they break the promises of their class.
    """
    check_mixed(codes)
    flags, kept, positions_table, streams = MIXED, b"", b"", Streams()
    if codes.keep is not None:
        positions = code_positions(codes.keep.numpy())
        flags |= HAS_KEEP | (GAPS if positions.gaps else 0)
        kept, positions_table, streams = varint(codes.index.numel()), positions.table, [*positions.streams]
    size = b""
    if codes.group_size is not None:
        flags |= HAS_GROUPS
        size = varint(codes.group_size)
    bits = codes.bits.numpy()
    occurring = np.unique(bits).tolist()
    tables = sum(1 << width - 1 for width in occurring).to_bytes(2, "little")
    if len(occurring) > 1:
        _, model = fit_model([bits - 1], MOST_BITS, _segments(codes.shape, codes.group_size))
        tables += model.table
        streams += model.streams
    plain = b"".join(map(tensor_bytes, codes.arrays()))
    levels = dict(codes.by_width())
    for width in occurring:
        table, packed, coded = _code_width(width, levels.get(width, codes.index[:0]).numpy())
        tables += table
        plain += packed
        streams += coded
    head = bytes([flags]) + write_shape(codes.shape) + size + kept + positions_table + tables
    seed = plain[-SEED_BYTES:]
    return head + varint(len(plain)) + plain[: len(plain) - len(seed)] + ans_encode(streams, seed)


def _code_width(width: int, levels: np.ndarray) -> tuple[bytes, bytes, Streams]:
    """Table, plain bytes and streams of the ``levels`` of one number of bits."""
    lower = max(0, width - SYMBOL_BITS)
    symbols = (levels >> lower).astype(np.uint8)
    low = pack_bits((levels & (1 << lower) - 1).astype(np.uint8), lower) if lower else b""
    plainly = pack_bits(symbols, width - lower)
    if symbols.size:
        frequencies = fit_frequencies(count_symbols(symbols, 1 << width - lower))
        if frequencies.bits < 8 + 8 * len(plainly):
            return frequencies.table, low, [(symbols, frequencies.weights)]
    return bytes([PACKED]), plainly + low, []


def decode_mixed(reader: Reader) -> MixedCodes:
    """Inverse of :func:`encode_mixed`, from a reader that stands before the record.

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
    groups = _group_count(elements, group_size)
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
    keep = None if pop_keep is None else torch.from_numpy(pop_keep(stream)).reshape(shape)
    bits = torch.from_numpy(pop_bits(stream))
    nowhere = torch.zeros(1)
    codes = MixedCodes(torch.empty(kept, dtype=torch.int16), shape, bits, group_size, nowhere, nowhere, keep)
    of_element = codes.widths().numpy()
    counts = [int(np.count_nonzero(of_element == width.bits)) for width in widths]
    uppers = [
        None if width.weights is None else stream.pop(width.weights, count)
        for width, count in zip(widths, counts, strict=True)
    ]
    rest = Reader(plain + stream.finish(SEED_BYTES))
    offset, scale = (tensor_from_bytes(rest.take(ENDS_BYTES // 2), torch.float32, (1,)) for _ in range(2))
    index = codes.index.numpy()
    for width, count, upper in zip(widths, counts, uppers, strict=True):
        index[of_element == width.bits] = _join(width, count, upper, rest)
    rest.finish()
    return replace(codes, offset=offset, scale=scale)


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
    pop = read_model(reader, groups, MOST_BITS, _segments(shape, group_size))

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


def _segments(shape: tuple[int, ...], group_size: int | None) -> dict[int, Segments]:
    """Rows and columns of groups, where groups do not run across rows."""
    row = math.prod(shape[1:])
    if group_size is None or not shape or not row or row % group_size:
        return {}
    return dict(shape_segments((shape[0], row // group_size)))


def _group_count(elements: int, group_size: int | None) -> int:
    if group_size == 0:
        raise ValueError("group_size must be at least 1, got 0")
    return min(elements, 1) if group_size is None else -(-elements // group_size)


def check_mixed(codes: MixedCodes) -> None:
    """Raise ``ValueError`` unless ``codes`` keep the promises of their class, which decoding relies on."""
    check_keep(codes.keep, codes.shape)
    elements = math.prod(codes.shape)
    kept = elements if codes.keep is None else int(codes.keep.count_nonzero())
    groups = _group_count(elements, codes.group_size)
    wanted = {
        "index": (codes.index, torch.int16, (kept,)),
        "bits": (codes.bits, torch.uint8, (groups,)),
        "offset": (codes.offset, torch.float32, (1,)),
        "scale": (codes.scale, torch.float32, (1,)),
    }
    for name, (tensor, dtype, shape) in wanted.items():
        if tensor.dtype != dtype or tuple(tensor.shape) != shape:
            raise ValueError(
                f"{name} must be {dtype} of {shape}, got {tensor.dtype} of {tuple(tensor.shape)}"
            )
    if groups and not 1 <= int(codes.bits.min()) <= int(codes.bits.max()) <= MOST_BITS:
        raise ValueError(f"bits must be in [1, {MOST_BITS}], got {sorted(set(codes.bits.tolist()))}")
    for width, levels in codes.by_width():
        if int(levels.min()) < 0 or int(levels.max()) >= 1 << width:
            raise ValueError(
                f"levels of {width} bits must be in [0, {(1 << width) - 1}], got {levels.unique()}"
            )
