"""The records of a file, one tensor each, as each codec writes them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from rayduce_reader.affine import read_affine
from rayduce_reader.ans import SEED_BYTES, AnsDecoder
from rayduce_reader.binary import Memory, Reader, packed_size, unpack_bits
from rayduce_reader.forms import Codes, Dense, Form, MixedCodes, scattered
from rayduce_reader.layout import (
    IS_DENSE,
    array_from_bytes,
    check_levels,
    dense_memory,
    join_codes,
    read_dtype,
    read_head,
    read_shape,
    spend_affine,
    split_affine,
)
from rayduce_reader.levels import read_levels, restore_levels
from rayduce_reader.mixed import MIXED, decode_mixed
from rayduce_reader.positions import read_positions

AFFINE, ALIGNED = 1, 2
"""Forms of entropy-coded records: offsets, scales and codebook are coded; levels are aligned."""
GAPS, SPARSE_AFFINE, SPARSE_ALIGNED = 1, 2, 4
"""Forms of sparse records: positions are gaps; and the two above."""

MOST_MEMBERS = 255

Decode = Callable[[memoryview, Memory], Form]
"""A record, and what reading it may take beside it -> its tensor; ``ValueError`` if it is no such record."""


def decoder(codec: Any) -> Decode:
    """What reads the records of a recipe's codec.

    Args:
        codec: as JSON has it: ``{"type": "Raw"}``, or ``{"type": "Smallest", "members": [...]}``, whose
            records begin with the number of the member that wrote the rest.

    Raises:
        ValueError: it is none that is known here.
    """
    kind = _kind(codec)
    if kind != "Smallest":
        return DECODERS[kind]
    members = codec.get("members")
    if not isinstance(members, list) or not 1 <= len(members) <= MOST_MEMBERS:
        raise ValueError(f"members must be 1 to {MOST_MEMBERS} codecs")
    kinds = [_kind(member) for member in members]
    if "Smallest" in kinds:
        raise ValueError("members must not hold another Smallest")  # a file could nest them without end
    return functools.partial(_smallest, [DECODERS[each] for each in kinds])


def _kind(codec: Any) -> str:
    kind = codec.get("type") if isinstance(codec, Mapping) else None
    if not isinstance(kind, str) or (kind != "Smallest" and kind not in DECODERS):
        raise ValueError(f"unknown codec {kind!r}; known are {', '.join([*DECODERS, 'Smallest'])}")
    return kind


def _smallest(members: list[Decode], record: memoryview, memory: Memory) -> Form:
    if not record or record[0] >= len(members):
        raise ValueError(f"codec {record[0]} of {len(members)}" if record else "an empty record")
    return members[record[0]](record[1:], memory)


def _raw(record: memoryview, memory: Memory) -> Dense:
    reader = Reader(record, memory)
    shape, number = read_shape(reader)
    dtype, bfloat16 = read_dtype(number)
    reader.memory.spend(dense_memory(shape, dtype), "a dense tensor")
    values = reader.take(math.prod(shape) * dtype.itemsize)
    reader.finish()
    return Dense(array_from_bytes(values, dtype, shape), None, bfloat16)


def _bit_packed(record: memoryview, memory: Memory) -> Codes:
    reader = Reader(record, memory)
    head = read_head(reader)
    keep = None
    kept = head.elements
    if head.masked:
        bitmap = reader.take(packed_size(head.elements, 1))
        keep = unpack_bits(bitmap, head.elements, 1).view(np.bool_)
        kept = int(np.count_nonzero(keep))
    spend_affine(reader, head, kept)
    affine = reader.take(head.affine_size(kept))
    index = unpack_bits(reader.take(packed_size(kept, head.bits)), kept, head.bits)
    reader.finish()
    check_levels(index, head.symbols)
    return join_codes(head, index, split_affine(head, kept, affine), keep)


def _entropy_coded(record: memoryview, memory: Memory) -> Codes | MixedCodes:
    reader = Reader(record, memory)
    if reader.peek() & MIXED:
        return decode_mixed(reader)
    head = read_head(reader)
    count = head.elements
    if head.masked or head.form > (AFFINE | ALIGNED if count else AFFINE):
        raise ValueError(f"EntropyCoded does not write {head}")
    pop_levels = read_levels(reader, head, count) if count else None
    size, pop_affine = read_affine(reader, head, count, bool(head.form & AFFINE))
    plain = bytes(reader.take(size - min(size, SEED_BYTES)))
    stream = AnsDecoder(reader.rest())
    index = np.empty(0, dtype=np.uint8) if pop_levels is None else pop_levels(stream)
    join_affine = pop_affine(stream)
    arrays = join_affine(plain + stream.finish(min(size, SEED_BYTES)))
    codes = join_codes(head, index, arrays, None)
    return replace(codes, index=restore_levels(index, codes)) if head.form & ALIGNED else codes


def _sparse(record: memoryview, memory: Memory) -> Codes | Dense:
    reader = Reader(record, memory)
    return _sparse_dense(reader) if reader.peek() & IS_DENSE else _sparse_codes(reader)


def _sparse_codes(reader: Reader) -> Codes:
    head = read_head(reader)
    kept = _read_kept(reader, head.elements)
    known = GAPS | SPARSE_AFFINE | SPARSE_ALIGNED
    if not head.masked or head.form > known or (head.form & SPARSE_ALIGNED and not kept):
        raise ValueError(f"Sparse does not write {head}")
    pop_keep = read_positions(reader, head.shape, kept, bool(head.form & GAPS))
    pop_levels = read_levels(reader, head, kept) if kept else None
    size, pop_affine = read_affine(reader, head, kept, bool(head.form & SPARSE_AFFINE))
    plain = bytes(reader.take(size - min(size, SEED_BYTES)))
    stream = AnsDecoder(reader.rest())
    keep = pop_keep(stream)
    index = np.empty(0, dtype=np.uint8) if pop_levels is None else pop_levels(stream)
    join_affine = pop_affine(stream)
    arrays = join_affine(plain + stream.finish(min(size, SEED_BYTES)))
    codes = join_codes(head, index, arrays, keep)
    return replace(codes, index=restore_levels(index, codes)) if head.form & SPARSE_ALIGNED else codes


def _sparse_dense(reader: Reader) -> Dense:
    form = reader.byte() - IS_DENSE
    if form not in (0, GAPS):
        raise ValueError(f"unknown form {form} of a sparse dense tensor")
    shape, number = read_shape(reader)
    dtype, bfloat16 = read_dtype(number)
    reader.memory.spend(dense_memory(shape, dtype, masked=True), "a pruned tensor")
    kept = _read_kept(reader, math.prod(shape))
    reader.memory.spend(3 * kept * dtype.itemsize, "kept elements")
    pop_keep = read_positions(reader, shape, kept, bool(form & GAPS))
    size = kept * dtype.itemsize
    plain = bytes(reader.take(size - min(size, SEED_BYTES)))
    stream = AnsDecoder(reader.rest())
    keep = pop_keep(stream).reshape(shape)
    plain += stream.finish(min(size, SEED_BYTES))
    return Dense(scattered(array_from_bytes(plain, dtype, (kept,)), keep, shape), keep, bfloat16)


def _read_kept(reader: Reader, elements: int) -> int:
    kept = reader.varint()
    if kept > elements:
        raise ValueError(f"{kept} of {elements} elements are kept")
    return kept


DECODERS: dict[str, Decode] = {
    "Raw": _raw,
    "BitPacked": _bit_packed,
    "EntropyCoded": _entropy_coded,
    "Sparse": _sparse,
}
"""By the type of the codec in a recipe."""
