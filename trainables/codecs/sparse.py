"""Pruned tensors: positions of the kept elements, then their values."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch

from trainables.codecs.affine import code_affine, read_affine
from trainables.codecs.ans import SEED_BYTES, AnsDecoder, ans_encode
from trainables.codecs.base import Codec, Stored
from trainables.codecs.binary import Memory, Reader, varint
from trainables.codecs.layout import (
    DTYPES,
    IS_DENSE,
    check_keep,
    dense_memory,
    dtype_number,
    join_codes,
    read_dtype,
    read_head,
    read_shape,
    tensor_bytes,
    tensor_from_bytes,
    write_head,
    write_shape,
)
from trainables.codecs.levels import code_levels, read_levels, restore_levels
from trainables.codecs.positions import Positions, code_positions, read_positions
from trainables.quantizers.base import Codes, Dense, MixedCodes, scatter_kept

GAPS, AFFINE, ALIGNED = 1, 2, 4


@dataclass(frozen=True)
class Sparse(Codec):
    """Masked tensors, quantized or not, by position and value.

    Positions are a bitmap or gaps between kept elements (Han et al. 2016, section 3, where a gap had
    a fixed number of bits); both are entropy-coded and the shorter is taken. Values of quantized
    tensors are entropy-coded, others are stored as they are. A zero outside the mask comes back positive
    whatever its sign was.
    """

    def accepts(self, tensor: Stored) -> bool:
        if tensor.keep is None:
            return False
        return isinstance(tensor, Codes) or (isinstance(tensor, Dense) and tensor.values.dtype in DTYPES)

    def encode(self, tensor: Stored) -> bytes:
        if tensor.keep is None or isinstance(tensor, MixedCodes):
            raise ValueError("Sparse stores tensors with a mask only, and none of mixed bits")
        check_keep(tensor.keep, tensor.shape)
        positions = code_positions(tensor.keep.numpy())
        if isinstance(tensor, Codes):
            return _encode_codes(tensor, positions)
        return _encode_dense(tensor, positions)

    def decode(self, data: bytes | memoryview, memory: Memory) -> Stored:
        reader = Reader(data, memory)
        return _decode_dense(reader) if reader.peek() & IS_DENSE else _decode_codes(reader)


def _encode_codes(codes: Codes, positions: Positions) -> bytes:
    write_head(codes)  # which checks the tensor
    affine = code_affine(codes)
    form = (GAPS if positions.gaps else 0) | (AFFINE if affine.coded else 0)
    table, streams = b"", positions.streams
    if codes.index.numel():
        aligned, model = code_levels(codes)
        form |= ALIGNED if aligned else 0
        table, streams = model.table, [*streams, *model.streams]
    head = write_head(codes, form) + varint(codes.index.numel())
    return _join(head + positions.table + table + affine.table, affine.plain, [*streams, *affine.streams])


def _encode_dense(dense: Dense, positions: Positions) -> bytes:
    values = dense.values[dense.keep]
    if int(dense.values.count_nonzero()) != int(values.count_nonzero()):
        raise ValueError("values must be zero where they are not kept")
    form = IS_DENSE | (GAPS if positions.gaps else 0)
    head = bytes([form]) + write_shape(dense.shape, dtype_number(dense)) + varint(values.numel())
    return _join(head + positions.table, tensor_bytes(values), positions.streams)


def _join(head: bytes, plain: bytes, streams: list[tuple[np.ndarray, np.ndarray]]) -> bytes:
    seed = plain[-SEED_BYTES:]
    return head + plain[: len(plain) - len(seed)] + ans_encode(streams, seed)


def _decode_codes(reader: Reader) -> Codes:
    head = read_head(reader)
    kept = _read_kept(reader, head.elements)
    if not head.masked or head.form > GAPS | AFFINE | ALIGNED or (head.form & ALIGNED and not kept):
        raise ValueError(f"Sparse does not write {head}")
    pop_keep = read_positions(reader, head.shape, kept, bool(head.form & GAPS))
    pop_levels = read_levels(reader, head, kept) if kept else None
    size, pop_affine = read_affine(reader, head, kept, bool(head.form & AFFINE))
    plain = bytes(reader.take(size - min(size, SEED_BYTES)))
    stream = AnsDecoder(reader.rest())
    keep = pop_keep(stream)
    index = np.empty(0, dtype=np.uint8) if pop_levels is None else pop_levels(stream)
    join_affine = pop_affine(stream)
    arrays = join_affine(plain + stream.finish(min(size, SEED_BYTES)))
    codes = join_codes(head, index, arrays, keep)
    if head.form & ALIGNED:
        return replace(codes, index=torch.from_numpy(restore_levels(index, codes)))
    return codes


def _decode_dense(reader: Reader) -> Dense:
    form = reader.byte() - IS_DENSE
    if form not in (0, GAPS):
        raise ValueError(f"unknown form {form} of a sparse dense tensor")
    shape, number = read_shape(reader)
    dtype = read_dtype(number)
    elements = math.prod(shape)
    reader.memory.spend(dense_memory(shape, dtype, masked=True), "a pruned tensor")
    kept = _read_kept(reader, elements)
    reader.memory.spend(3 * kept * dtype.itemsize, "kept elements")
    pop_keep = read_positions(reader, shape, kept, bool(form & GAPS))
    size = kept * dtype.itemsize
    plain = bytes(reader.take(size - min(size, SEED_BYTES)))
    stream = AnsDecoder(reader.rest())
    keep = torch.from_numpy(pop_keep(stream)).reshape(shape)
    plain += stream.finish(min(size, SEED_BYTES))
    return Dense(scatter_kept(tensor_from_bytes(plain, dtype, (kept,)), keep, shape), keep)


def _read_kept(reader: Reader, elements: int) -> int:
    kept = reader.varint()
    if kept > elements:
        raise ValueError(f"{kept} of {elements} elements are kept")
    return kept
