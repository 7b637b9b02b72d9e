"""Every element as it is."""

from __future__ import annotations

from dataclasses import dataclass

from trainables.codecs.base import Codec, Stored
from trainables.codecs.layout import DTYPES, dtype_number, tensor_bytes, write_shape
from trainables.quantizers.base import Dense


@dataclass(frozen=True)
class Raw(Codec):
    """Unmasked dense tensors, element by element in their own dtype."""

    def accepts(self, tensor: Stored) -> bool:
        return isinstance(tensor, Dense) and tensor.keep is None and tensor.values.dtype in DTYPES

    def encode(self, tensor: Stored) -> bytes:
        if not isinstance(tensor, Dense) or tensor.keep is not None:
            raise ValueError("Raw stores dense tensors without a mask only")
        return write_shape(tensor.shape, dtype_number(tensor)) + tensor_bytes(tensor.values)
