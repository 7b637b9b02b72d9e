"""Every element as it is."""

from __future__ import annotations

import math
from dataclasses import dataclass

from trainables.codecs.base import Codec, Stored
from trainables.codecs.binary import Memory, Reader
from trainables.codecs.layout import (
    DTYPES,
    dense_memory,
    dtype_number,
    read_dtype,
    read_shape,
    tensor_bytes,
    tensor_from_bytes,
    write_shape,
)
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

    def decode(self, data: bytes | memoryview, memory: Memory) -> Dense:
        reader = Reader(data, memory)
        shape, number = read_shape(reader)
        dtype = read_dtype(number)
        size = math.prod(shape) * dtype.itemsize
        reader.memory.spend(dense_memory(shape, dtype), "a dense tensor")
        values = reader.take(size)
        reader.finish()
        return Dense(tensor_from_bytes(values, dtype, shape))
