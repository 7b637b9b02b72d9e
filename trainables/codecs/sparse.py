"""Pruned tensors: positions of the kept elements, then their values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rayduce_reader.ans import SEED_BYTES
from rayduce_reader.layout import IS_DENSE
from rayduce_reader.records import GAPS, SPARSE_AFFINE, SPARSE_ALIGNED
from trainables.codecs.affine import code_affine
from trainables.codecs.ans import ans_encode
from trainables.codecs.base import Codec, Stored
from trainables.codecs.binary import varint
from trainables.codecs.layout import DTYPES, check_keep, dtype_number, tensor_bytes, write_head, write_shape
from trainables.codecs.levels import code_levels
from trainables.codecs.positions import Positions, code_positions
from trainables.quantizers.base import Codes, Dense, MixedCodes


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


def _encode_codes(codes: Codes, positions: Positions) -> bytes:
    write_head(codes)  # which checks the tensor
    affine = code_affine(codes)
    form = (GAPS if positions.gaps else 0) | (SPARSE_AFFINE if affine.coded else 0)
    table, streams = b"", positions.streams
    if codes.index.numel():
        aligned, model = code_levels(codes)
        form |= SPARSE_ALIGNED if aligned else 0
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
