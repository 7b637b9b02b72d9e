"""Pruned tensors: positions of the kept elements, then their values."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from trainables.codecs.ans import SEED_BYTES, AnsDecoder, ans_encode
from trainables.codecs.base import Codec, Stored
from trainables.codecs.binary import Reader, pack_bits, packed_size, unpack_bits, varint
from trainables.codecs.frequencies import fit_frequencies, read_frequencies
from trainables.codecs.layout import (
    DTYPES,
    IS_DENSE,
    affine_bytes,
    check_keep,
    check_levels,
    dtype_number,
    join_codes,
    read_dtype,
    read_head,
    read_shape,
    symbol_count,
    tensor_bytes,
    tensor_from_bytes,
    write_head,
    write_shape,
)
from trainables.codecs.positions import Positions, code_positions, read_positions
from trainables.quantizers.base import Codes, Dense, scatter_kept

GAPS, CODED = 1, 2


@dataclass(frozen=True)
class Sparse(Codec):
    """Masked tensors, quantized or not, by position and value.

    Positions are a bitmap or gaps between kept elements (Han et al. 2016, section 3, where a gap had
    a fixed number of bits); both are entropy-coded and the shorter is taken. Values of quantized
    tensors are entropy-coded or packed, whichever is shorter; others are stored as they are. A zero
    outside the mask comes back positive whatever its sign was.
    """

    def accepts(self, tensor: Stored) -> bool:
        if tensor.keep is None:
            return False
        return isinstance(tensor, Codes) or tensor.values.dtype in DTYPES

    def encode(self, tensor: Stored) -> bytes:
        if tensor.keep is None:
            raise ValueError("Sparse stores tensors with a mask only")
        check_keep(tensor.keep, tensor.shape)
        positions = code_positions(tensor.keep.reshape(-1).numpy())
        if isinstance(tensor, Codes):
            return _encode_codes(tensor, positions)
        return _encode_dense(tensor, positions)

    def decode(self, data: bytes, limit: int) -> Stored:
        reader = Reader(data)
        return _decode_dense(reader, limit) if reader.peek() & IS_DENSE else _decode_codes(reader, limit)


def _encode_codes(codes: Codes, positions: Positions) -> bytes:
    index = codes.index.numpy()
    form = GAPS if positions.gaps else 0
    table, streams, packed = b"", positions.streams, b""
    if index.size:
        frequencies = fit_frequencies(np.bincount(index, minlength=symbol_count(codes)))
        if frequencies.bits < index.size * codes.bits:
            form |= CODED
            table, streams = frequencies.table, [*streams, (index, frequencies.weights)]
        else:
            packed = pack_bits(index, codes.bits)
    head = write_head(codes, form) + varint(index.size) + positions.table + table
    return _join(head, packed + affine_bytes(codes), streams)


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


def _decode_codes(reader: Reader, limit: int) -> Codes:
    head = read_head(reader, limit)
    if not head.masked or head.form > GAPS | CODED:
        raise ValueError(f"Sparse does not write {head}")
    kept = _read_kept(reader, head.elements)
    pop_keep = read_positions(reader, head.elements, kept, bool(head.form & GAPS))
    coded = bool(head.form & CODED)
    weights = read_frequencies(reader, head.symbols) if coded else np.ones(head.symbols)
    packed = 0 if coded else packed_size(kept, head.bits)
    size = packed + head.affine_size(kept)
    plain = reader.take(size - min(size, SEED_BYTES))
    stream = AnsDecoder(reader.rest())
    keep = pop_keep(stream)
    index = stream.pop(weights, kept if coded else 0)
    plain += stream.finish(min(size, SEED_BYTES))
    if not coded:
        index = unpack_bits(plain[:packed], kept, head.bits)
        check_levels(index, head.symbols)
    return join_codes(head, index, plain[packed:], keep)


def _decode_dense(reader: Reader, limit: int) -> Dense:
    form = reader.byte() - IS_DENSE
    if form not in (0, GAPS):
        raise ValueError(f"unknown form {form} of a sparse dense tensor")
    shape, number = read_shape(reader, limit)
    dtype = read_dtype(number)
    elements = math.prod(shape)
    kept = _read_kept(reader, elements)
    pop_keep = read_positions(reader, elements, kept, bool(form & GAPS))
    size = kept * dtype.itemsize
    plain = reader.take(size - min(size, SEED_BYTES))
    stream = AnsDecoder(reader.rest())
    keep = torch.from_numpy(pop_keep(stream)).reshape(shape)
    plain += stream.finish(min(size, SEED_BYTES))
    return Dense(scatter_kept(tensor_from_bytes(plain, dtype, (kept,)), keep, shape), keep)


def _read_kept(reader: Reader, elements: int) -> int:
    kept = reader.varint()
    if kept > elements:
        raise ValueError(f"{kept} of {elements} elements are kept")
    return kept
