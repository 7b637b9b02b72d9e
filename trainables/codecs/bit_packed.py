"""Indices of ``bits`` bits each, one after the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainables.codecs.base import Codec, Stored
from trainables.codecs.binary import Memory, Reader, pack_bits, packed_size, unpack_bits
from trainables.codecs.layout import (
    affine_bytes,
    affine_size,
    check_levels,
    join_codes,
    read_head,
    spend_affine,
    split_affine,
    write_head,
)
from trainables.quantizers.base import Codes


@dataclass(frozen=True)
class BitPacked(Codec):
    """Quantized tensors at ``bits`` bits per kept weight; a mask takes one bit per element."""

    def accepts(self, tensor: Stored) -> bool:
        return isinstance(tensor, Codes)

    def encode(self, tensor: Stored) -> bytes:
        if not isinstance(tensor, Codes):
            raise ValueError("BitPacked stores quantized tensors only")
        head = write_head(tensor)
        bitmap = b""
        if tensor.keep is not None:
            bitmap = pack_bits(tensor.keep.reshape(-1).numpy().view(np.uint8), 1)
        return head + bitmap + affine_bytes(tensor) + pack_bits(tensor.index.numpy(), tensor.bits)

    def size(self, tensor: Stored) -> int | None:
        if not isinstance(tensor, Codes):
            return None
        mask = 0 if tensor.keep is None else packed_size(tensor.keep.numel(), 1)
        indices = packed_size(tensor.index.numel(), tensor.bits)
        return len(write_head(tensor)) + mask + affine_size(tensor) + indices

    def decode(self, data: bytes | memoryview, memory: Memory) -> Codes:
        reader = Reader(data, memory)
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
