"""Indices at their entropy or below, with offsets, scales and codebook coded too."""

from __future__ import annotations

from dataclasses import dataclass

from rayduce_reader.ans import SEED_BYTES
from rayduce_reader.records import AFFINE, ALIGNED
from trainables.codecs.affine import code_affine
from trainables.codecs.ans import ans_encode
from trainables.codecs.base import Codec, Stored
from trainables.codecs.layout import write_head
from trainables.codecs.levels import code_levels
from trainables.codecs.mixed import encode_mixed
from trainables.quantizers.base import Codes, MixedCodes


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
