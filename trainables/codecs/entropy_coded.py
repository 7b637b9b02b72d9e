"""Indices at their entropy or below, with offsets, scales and codebook coded too."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from trainables.codecs.affine import code_affine, read_affine
from trainables.codecs.ans import SEED_BYTES, AnsDecoder, ans_encode
from trainables.codecs.base import Codec, Stored
from trainables.codecs.binary import Memory, Reader
from trainables.codecs.layout import join_codes, read_head, write_head
from trainables.codecs.levels import code_levels, read_levels, restore_levels
from trainables.codecs.mixed import MIXED, decode_mixed, encode_mixed
from trainables.quantizers.base import Codes, MixedCodes

AFFINE, ALIGNED = 1, 2


@dataclass(frozen=True)
class EntropyCoded(Codec):
    """Quantized tensors under static models of how often each level occurs in each context.

    Those of one number of bits without a mask, and all whose groups have bits of their own.
    """

    def accepts(self, tensor: Stored) -> bool:
        return isinstance(tensor, MixedCodes) or (isinstance(tensor, Codes) and tensor.keep is None)

    def encode(self, tensor: Stored) -> bytes:
        if isinstance(tensor, MixedCodes):
            return encode_mixed(tensor)
        if not isinstance(tensor, Codes) or tensor.keep is not None:
            raise ValueError(
                "EntropyCoded stores quantized tensors only, and those of one width without a mask"
            )
        write_head(tensor)  # which checks the tensor
        affine = code_affine(tensor)
        form = AFFINE if affine.coded else 0
        table, streams = b"", []
        if tensor.index.numel():
            aligned, model = code_levels(tensor)
            form |= ALIGNED if aligned else 0
            table, streams = model.table, model.streams
        seed = affine.plain[-SEED_BYTES:]
        plain = affine.plain[: len(affine.plain) - len(seed)]
        coded = ans_encode([*streams, *affine.streams], seed)
        return write_head(tensor, form) + table + affine.table + plain + coded

    def decode(self, data: bytes | memoryview, memory: Memory) -> Codes | MixedCodes:
        reader = Reader(data, memory)
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
        index = torch.empty(0, dtype=torch.uint8).numpy() if pop_levels is None else pop_levels(stream)
        join_affine = pop_affine(stream)
        arrays = join_affine(plain + stream.finish(min(size, SEED_BYTES)))
        codes = join_codes(head, index, arrays, None)
        if head.form & ALIGNED:
            return replace(codes, index=torch.from_numpy(restore_levels(index, codes)))
        return codes
