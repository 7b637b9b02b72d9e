"""Indices at their order-0 entropy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainables.codecs.ans import SEED_BYTES, AnsDecoder, ans_encode
from trainables.codecs.base import Codec, Stored
from trainables.codecs.binary import Reader
from trainables.codecs.frequencies import fit_frequencies, read_frequencies
from trainables.codecs.layout import affine_bytes, join_codes, read_head, symbol_count, write_head
from trainables.quantizers.base import Codes


@dataclass(frozen=True)
class EntropyCoded(Codec):
    """Unmasked quantized tensors under a static model of how often each level occurs."""

    def accepts(self, tensor: Stored) -> bool:
        return isinstance(tensor, Codes) and tensor.keep is None

    def encode(self, tensor: Stored) -> bytes:
        if not isinstance(tensor, Codes) or tensor.keep is not None:
            raise ValueError("EntropyCoded stores quantized tensors without a mask only")
        head = write_head(tensor)
        index = tensor.index.numpy()
        streams = []
        if index.size:
            frequencies = fit_frequencies(np.bincount(index, minlength=symbol_count(tensor)))
            head += frequencies.table
            streams = [(index, frequencies.weights)]
        affine = affine_bytes(tensor)
        seed = affine[-SEED_BYTES:]
        return head + affine[: len(affine) - len(seed)] + ans_encode(streams, seed)

    def decode(self, data: bytes, limit: int) -> Codes:
        reader = Reader(data)
        head = read_head(reader, limit)
        if head.masked or head.form:
            raise ValueError(f"EntropyCoded does not write {head}")
        count = head.elements
        weights = read_frequencies(reader, head.symbols) if count else np.ones(head.symbols)
        size = head.affine_size(count)
        affine = reader.take(size - min(size, SEED_BYTES))
        stream = AnsDecoder(reader.rest())
        index = stream.pop(weights, count)
        return join_codes(head, index, affine + stream.finish(min(size, SEED_BYTES)), None)
