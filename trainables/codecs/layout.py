"""How the fields of ``Codes`` and ``Dense`` lie in bytes; everything is little-endian."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from trainables.codecs.binary import Reader, varint
from trainables.quantizers.base import Codes, Dense

DTYPES: tuple[torch.dtype, ...] = (
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.float64,
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
)
"""By number; the file format, so new ones go to the end."""

MAX_RANK = 15

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
    scale_dtype: torch.dtype
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

    def affine_arrays(self, kept: int) -> list[tuple[int, torch.dtype]]:
        """Length and dtype of each of: offsets (unless centred), scales, codebook (if there is one)."""
        scales = (bucket_count(kept, self.bucket_size), self.scale_dtype)
        arrays = [scales] if self.zero is not None else [scales, scales]
        return arrays if self.levels is None else [*arrays, (self.levels, torch.float32)]


def bucket_count(kept: int, bucket_size: int | None) -> int:
    """Buckets that ``kept`` values are cut into."""
    return min(kept, 1) if bucket_size is None else -(-kept // bucket_size)


def write_shape(shape: tuple[int, ...], low: int = 0) -> bytes:
    """The rank in the upper half of a byte with ``low`` (0-15) in its lower half, then the dimensions."""
    if len(shape) > MAX_RANK:
        raise ValueError(f"a stored tensor has at most {MAX_RANK} dimensions, got shape {shape}")
    return bytes([len(shape) << 4 | low]) + b"".join(map(varint, shape))


def read_shape(reader: Reader) -> tuple[tuple[int, ...], int]:
    """The shape and ``low``. Whoever reads on says what its elements take (:meth:`Memory.spend`)."""
    first = reader.byte()
    shape = tuple(reader.varint() for _ in range(first >> 4))
    if math.prod(max(size, 1) for size in shape) > MAX_EXTENT:
        raise ValueError(f"shape {shape} is too large")
    return shape, first & 15


def symbol_count(codes: Codes) -> int:
    """How many values an index may take."""
    return 2**codes.bits if codes.codebook is None else codes.codebook.numel()


def check_codes(codes: Codes) -> None:
    """Raise ``ValueError`` unless ``codes`` keep the promises of their class, which decoding relies on."""
    elements = math.prod(codes.shape)
    kept = codes.index.numel()
    if not 1 <= codes.bits <= 8:
        raise ValueError(f"bits must be in [1, 8], got bits={codes.bits}")
    if codes.bucket_size is not None and codes.bucket_size < 1:
        raise ValueError(f"bucket_size must be at least 1 or None, got bucket_size={codes.bucket_size}")
    if codes.index.dtype != torch.uint8 or codes.index.dim() != 1:
        raise ValueError(
            f"index must be uint8 of one dimension, got {codes.index.dtype} of {codes.index.shape}"
        )
    check_keep(codes.keep, codes.shape)
    expected = elements if codes.keep is None else int(codes.keep.count_nonzero())
    if kept != expected:
        raise ValueError(f"index must hold the {expected} kept elements, got {kept}")
    _check_grid(codes)
    buckets = (bucket_count(kept, codes.bucket_size),)
    for name, values in (("offset", codes.offset), ("scale", codes.scale)):
        if values is None:
            continue
        if values.dtype not in (torch.float16, torch.float32) or values.dtype != codes.scale.dtype:
            raise ValueError(
                f"offset and scale must both be float16 or float32, got {name} of {values.dtype}"
            )
        if tuple(values.shape) != buckets:
            raise ValueError(f"{name} must have shape {buckets}, got {tuple(values.shape)}")
    check_levels(codes.index.numpy(), symbol_count(codes))


def _check_grid(codes: Codes) -> None:
    book, zero = codes.codebook, codes.zero
    if (codes.offset is None) != (zero is not None):
        raise ValueError(f"a centred grid, and no other, has a zero level instead of offsets, got {zero=}")
    if zero is not None and book is not None:
        raise ValueError(f"a centred grid has no codebook, got {zero=} and {book.numel()} levels")
    if zero is not None and not 0 <= zero < 2**codes.bits:
        raise ValueError(f"zero must be below {2**codes.bits}, got {zero=}")
    if book is not None and not (
        book.dtype == torch.float32 and book.dim() == 1 and 2 <= book.numel() <= 2**codes.bits
    ):
        raise ValueError(
            f"codebook must be float32 of 2 to {2**codes.bits} levels, "
            f"got {book.dtype} of {tuple(book.shape)}"
        )


def check_levels(index: np.ndarray, symbols: int) -> None:
    """Raise ``ValueError`` unless each element of ``index`` (n,) is below ``symbols``."""
    highest = int(index.max(initial=0))
    if highest >= symbols:
        raise ValueError(f"index must be below {symbols}, got {highest}")


def check_keep(keep: Tensor | None, shape: tuple[int, ...]) -> None:
    """Raise ``ValueError`` unless ``keep`` is None or a bool tensor of ``shape``."""
    if keep is not None and (keep.dtype != torch.bool or tuple(keep.shape) != shape):
        raise ValueError(f"keep must be bool of shape {shape}, got {keep.dtype} of {tuple(keep.shape)}")


def write_head(codes: Codes, form: int = 0) -> bytes:
    """The fields of ``codes`` that are no arrays; checks them first."""
    check_codes(codes)
    flags = codes.bits - 1
    tail = b""
    if codes.bucket_size is not None:
        flags |= HAS_BUCKETS
        tail += varint(codes.bucket_size)
    if codes.codebook is not None:
        flags |= OTHER_GRID
        tail += bytes([codes.codebook.numel() - 1])
    if codes.zero is not None:
        flags |= OTHER_GRID
        tail += bytes([CENTRED, codes.zero])
    if codes.scale.dtype == torch.float32:
        flags |= FLOAT32_SCALES
    if codes.keep is not None:
        flags |= HAS_KEEP
    return bytes([flags]) + write_shape(codes.shape, form) + tail


def spend_affine(reader: Reader, head: Head, kept: int) -> None:
    """Count what offsets, scales and codebook with ``kept`` indices take, temporaries included."""
    buckets = bucket_count(kept, head.bucket_size)
    reader.memory.spend(BUCKET_BYTES * (buckets + (head.levels or 0)), f"scales of {buckets} buckets")


def dense_memory(shape: tuple[int, ...], dtype: torch.dtype, masked: bool = False) -> int:
    """Bytes that reading a dense tensor takes: the values twice, while they are copied, and the mask."""
    return math.prod(shape) * (2 * dtype.itemsize + (2 if masked else 0))


def read_head(reader: Reader) -> Head:
    """Inverse of :func:`write_head`; counts what its elements take (:meth:`Memory.spend`)."""
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
    dtype = torch.float32 if flags & FLOAT32_SCALES else torch.float16
    return Head(shape, bits, bucket_size, dtype, levels, zero, bool(flags & HAS_KEEP), form)


def affine_arrays(codes: Codes) -> list[Tensor]:
    """Offsets, scales and codebook, those that there are."""
    return [array for array in (codes.offset, codes.scale, codes.codebook) if array is not None]


def affine_bytes(codes: Codes) -> bytes:
    """Offsets, scales and codebook as they are."""
    return b"".join(map(tensor_bytes, affine_arrays(codes)))


def affine_size(codes: Codes) -> int:
    """The length of :func:`affine_bytes`."""
    return sum(array.nbytes for array in affine_arrays(codes))


def split_affine(head: Head, kept: int, affine: bytes | memoryview) -> list[Tensor]:
    """Inverse of :func:`affine_bytes`, which gave ``head.affine_size(kept)`` bytes."""
    arrays, start = [], 0
    for count, dtype in head.affine_arrays(kept):
        end = start + count * dtype.itemsize
        arrays.append(tensor_from_bytes(affine[start:end], dtype, (count,)))
        start = end
    return arrays


def join_codes(head: Head, index: np.ndarray, affine: list[Tensor], keep: np.ndarray | None) -> Codes:
    """The ``Codes`` of a head and its arrays, ``affine`` as :func:`split_affine` gives them."""
    arrays = iter(affine)
    return Codes(
        index=torch.from_numpy(index),
        shape=head.shape,
        bits=head.bits,
        bucket_size=head.bucket_size,
        offset=next(arrays) if head.zero is None else None,
        scale=next(arrays),
        codebook=None if head.levels is None else next(arrays),
        keep=None if keep is None else torch.from_numpy(keep).reshape(head.shape),
        zero=head.zero,
    )


def dtype_number(tensor: Dense) -> int:
    """The place of the values' dtype in :data:`DTYPES`; ``ValueError`` if it has none."""
    if tensor.values.dtype not in DTYPES:
        raise ValueError(f"no codec stores {tensor.values.dtype}")
    return DTYPES.index(tensor.values.dtype)


def read_dtype(number: int) -> torch.dtype:
    """Inverse of :func:`dtype_number`."""
    if number >= len(DTYPES):
        raise ValueError(f"unknown number of a dtype {number}")
    return DTYPES[number]


def tensor_bytes(tensor: Tensor) -> bytes:
    """The elements in row-major order."""
    flat = torch.empty(tensor.numel(), dtype=tensor.dtype)  # strides of 1, which one element need not have
    return flat.copy_(tensor.detach().reshape(-1)).view(torch.uint8).numpy().tobytes()


def tensor_from_bytes(data: bytes | memoryview, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    """Inverse of :func:`tensor_bytes`, in memory of its own."""
    if not data:
        return torch.zeros(shape, dtype=dtype)
    if dtype == torch.bool and np.frombuffer(data, dtype=np.uint8).max() > 1:
        raise ValueError("a bool is stored as 0 or 1")
    return torch.frombuffer(bytearray(data), dtype=dtype).reshape(shape)
