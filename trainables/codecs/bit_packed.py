"""Indices of ``bits`` bits each, one after the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rayduce_reader.binary import packed_size
from trainables.codecs.base import Codec, Stored
from trainables.codecs.binary import pack_bits
from trainables.codecs.layout import affine_bytes, affine_size, write_head
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
