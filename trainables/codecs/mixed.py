"""Tensors whose groups have bits of their own: the bits of each group, and the levels of each number of bits.

Levels of one number of bits are one context: they have a frequency table of their own, or are packed as they
are where that is shorter. Of levels of more than 8 bits the upper 8 are symbols; the lower ones, as good as
random, are packed.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from rayduce_reader.ans import SEED_BYTES
from rayduce_reader.mixed import (
    GAPS,
    HAS_GROUPS,
    HAS_KEEP,
    MIXED,
    MOST_BITS,
    PACKED,
    SYMBOL_BITS,
    group_count,
    group_segments,
)
from trainables.codecs.ans import ans_encode
from trainables.codecs.binary import pack_bits, varint
from trainables.codecs.contexts import fit_model
from trainables.codecs.frequencies import count_symbols, fit_frequencies
from trainables.codecs.layout import check_keep, tensor_bytes, write_shape
from trainables.codecs.positions import code_positions
from trainables.quantizers.base import MixedCodes

Streams = list[tuple[np.ndarray, np.ndarray]]


def encode_mixed(codes: MixedCodes) -> bytes:
    """The record of ``codes``; see :func:`rayduce_reader.mixed.decode_mixed`.

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
        _, model = fit_model([bits - 1], MOST_BITS, group_segments(codes.shape, codes.group_size))
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


def check_mixed(codes: MixedCodes) -> None:
    """Raise ``ValueError`` unless ``codes`` keep the promises of their class, which decoding relies on."""
    check_keep(codes.keep, codes.shape)
    elements = math.prod(codes.shape)
    kept = elements if codes.keep is None else int(codes.keep.count_nonzero())
    groups = group_count(elements, codes.group_size)
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
