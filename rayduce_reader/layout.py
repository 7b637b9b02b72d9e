"""How the fields of a tensor lie in bytes; everything is little-endian."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rayduce_reader.binary import Reader
from rayduce_reader.forms import Codes

DTYPES = (
    *("float32", "float16", "bfloat16", "float64", "bool"),
    *("uint8", "int8", "int16", "int32", "int64"),
)
"""By number; the file format, so new ones go to the end."""

BFLOAT16 = "bfloat16"
FLOAT16, FLOAT32 = np.dtype(np.float16), np.dtype(np.float32)

CODE_BYTES = 8
"""What reading an element of a quantized tensor takes at most: its index, its place in the mask, a copy of
one of them or its aligned index in 16 bits; and in the end float32."""

BUCKET_BYTES = 128
"""Of a bucket: offset and scale, their patterns in 64 bits, and its level of zero."""

MAX_EXTENT = 2**48  # of the product of all dimensions, zeros counted as ones
HAS_BUCKETS, OTHER_GRID, FLOAT32_SCALES, HAS_KEEP, IS_DENSE = 8, 16, 32, 64, 128  # bits 0-2: bits - 1
CENTRED = 0  # where a codebook's levels less one stand otherwise


@dataclass(frozen=True)
class Head:
    """All of ``Codes`` but its arrays.

    ``levels`` is the length of the codebook, None without one; ``zero`` is the zero level of a centred grid,
    which has no offsets; ``form`` is for the codec, in [0, 15].
    """

    shape: tuple[int, ...]
    bits: int
    bucket_size: int | None
    scale_dtype: np.dtype
    levels: int | None
    zero: int | None
    masked: bool
    form: int

    @property
    def symbols(self) -> int:
        """How many values an index may take."""
        return 2**self.bits if self.levels is None else self.levels

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    def affine_size(self, kept: int) -> int:
        """Bytes of offsets, scales and codebook with ``kept`` indices."""
        return sum(count * dtype.itemsize for count, dtype in self.affine_arrays(kept))

    def affine_arrays(self, kept: int) -> list[tuple[int, np.dtype]]:
        """Length and dtype of each of: offsets (unless centred), scales, codebook (if there is one)."""
        scales = (bucket_count(kept, self.bucket_size), self.scale_dtype)
        arrays = [scales] if self.zero is not None else [scales, scales]
        return arrays if self.levels is None else [*arrays, (self.levels, FLOAT32)]


def bucket_count(kept: int, bucket_size: int | None) -> int:
    """Buckets that ``kept`` values are cut into."""
    return min(kept, 1) if bucket_size is None else -(-kept // bucket_size)


def read_shape(reader: Reader) -> tuple[tuple[int, ...], int]:
    """The shape and ``low``. Whoever reads on says what its elements take (:meth:`Memory.spend`)."""
    first = reader.byte()
    shape = tuple(reader.varint() for _ in range(first >> 4))
    if math.prod(max(size, 1) for size in shape) > MAX_EXTENT:
        raise ValueError(f"shape {shape} is too large")
    return shape, first & 15


def check_levels(index: np.ndarray, symbols: int) -> None:
    """Raise ``ValueError`` unless each element of ``index`` (n,) is below ``symbols``."""
    highest = int(index.max(initial=0))
    if highest >= symbols:
        raise ValueError(f"index must be below {symbols}, got {highest}")


def spend_affine(reader: Reader, head: Head, kept: int) -> None:
    """Count what offsets, scales and codebook with ``kept`` indices take, temporaries included."""
    buckets = bucket_count(kept, head.bucket_size)
    reader.memory.spend(BUCKET_BYTES * (buckets + (head.levels or 0)), f"scales of {buckets} buckets")


def dense_memory(shape: tuple[int, ...], dtype: np.dtype, masked: bool = False) -> int:
    """Bytes that reading a dense tensor takes: the values twice, while they are copied, and the mask."""
    return math.prod(shape) * (2 * dtype.itemsize + (2 if masked else 0))


def read_head(reader: Reader) -> Head:
    """What precedes the arrays of a quantized tensor; spends what its elements take."""
    flags = reader.byte()
    if flags & IS_DENSE:
        raise ValueError("a dense tensor stands where a quantized one is expected")
    bits = (flags & 7) + 1
    shape, form = read_shape(reader)
    reader.memory.spend(CODE_BYTES * math.prod(shape), f"a quantized tensor of {math.prod(shape)} elements")
    bucket_size = reader.varint() if flags & HAS_BUCKETS else None
    if bucket_size == 0:
        raise ValueError("bucket_size must be at least 1, got 0")
    levels = zero = None
    if flags & OTHER_GRID:
        levels = reader.byte() + 1
        if levels - 1 == CENTRED:
            levels, zero = None, reader.byte()
    if levels is not None and levels > 2**bits:
        raise ValueError(f"a codebook must have 2 to {2**bits} levels, got {levels}")
    if zero is not None and zero >= 2**bits:
        raise ValueError(f"zero must be below {2**bits}, got {zero=}")
    dtype = FLOAT32 if flags & FLOAT32_SCALES else FLOAT16
    return Head(shape, bits, bucket_size, dtype, levels, zero, bool(flags & HAS_KEEP), form)


def split_affine(head: Head, kept: int, affine: bytes | memoryview) -> list[np.ndarray]:
    """Offsets, scales and codebook, out of ``head.affine_size(kept)`` bytes that hold them as they are."""
    arrays, start = [], 0
    for count, dtype in head.affine_arrays(kept):
        end = start + count * dtype.itemsize
        arrays.append(array_from_bytes(affine[start:end], dtype, (count,)))
        start = end
    return arrays


def join_codes(head: Head, index: np.ndarray, affine: Sequence[np.ndarray], keep: np.ndarray | None) -> Codes:
    """The ``Codes`` of a head and its arrays, ``affine`` as :func:`split_affine` gives them."""
    arrays = iter(affine)
    return Codes(
        index=index,
        shape=head.shape,
        bits=head.bits,
        bucket_size=head.bucket_size,
        offset=next(arrays) if head.zero is None else None,
        scale=next(arrays),
        codebook=None if head.levels is None else next(arrays),
        keep=None if keep is None else keep.reshape(head.shape),
        zero=head.zero,
    )


def read_dtype(number: int) -> tuple[np.dtype, bool]:
    """The dtype with a number in :data:`DTYPES`, and whether its values are patterns of bfloat16."""
    if number >= len(DTYPES):
        raise ValueError(f"unknown number of a dtype {number}")
    name = DTYPES[number]
    return (np.dtype(np.uint16), True) if name == BFLOAT16 else (np.dtype(name), False)


def array_from_bytes(data: bytes | memoryview, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """The elements in ``data``, in row-major order and little-endian, in memory of their own."""
    if dtype == np.bool_ and data and np.frombuffer(data, dtype=np.uint8).max() > 1:
        raise ValueError("a bool is stored as 0 or 1")
    stored = np.frombuffer(bytearray(data), dtype=dtype.newbyteorder("<"))
    return stored.astype(dtype, copy=False).reshape(shape)
