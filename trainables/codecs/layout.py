"""How the fields of ``Codes`` and ``Dense`` lie in bytes; everything is little-endian."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rayduce_reader.layout import (
    CENTRED,
    FLOAT32_SCALES,
    HAS_BUCKETS,
    HAS_KEEP,
    OTHER_GRID,
    bucket_count,
    check_levels,
)
from rayduce_reader.layout import DTYPES as NAMES
from trainables.codecs.binary import varint
from trainables.quantizers.base import Codes, Dense

DTYPES: tuple[torch.dtype, ...] = tuple(getattr(torch, name) for name in NAMES)
"""By number, as the file format has them."""

MAX_RANK = 15


def write_shape(shape: tuple[int, ...], low: int = 0) -> bytes:
    """The rank in the upper half of a byte with ``low`` (0-15) in its lower half, then the dimensions."""
    if len(shape) > MAX_RANK:
        raise ValueError(f"a stored tensor has at most {MAX_RANK} dimensions, got shape {shape}")
    return bytes([len(shape) << 4 | low]) + b"".join(map(varint, shape))


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
    check_levels(codes.index.numpy(), codes.symbols)


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


def affine_arrays(codes: Codes) -> list[Tensor]:
    """Offsets, scales and codebook, those that there are."""
    return [array for array in (codes.offset, codes.scale, codes.codebook) if array is not None]


def affine_bytes(codes: Codes) -> bytes:
    """Offsets, scales and codebook as they are."""
    return b"".join(map(tensor_bytes, affine_arrays(codes)))


def affine_size(codes: Codes) -> int:
    """The length of :func:`affine_bytes`."""
    return sum(array.nbytes for array in affine_arrays(codes))


def dtype_number(tensor: Dense) -> int:
    """The place of the values' dtype in :data:`DTYPES`; ``ValueError`` if it has none."""
    if tensor.values.dtype not in DTYPES:
        raise ValueError(f"no codec stores {tensor.values.dtype}")
    return DTYPES.index(tensor.values.dtype)


def tensor_bytes(tensor: Tensor) -> bytes:
    """The elements in row-major order."""
    flat = torch.empty(tensor.numel(), dtype=tensor.dtype)  # strides of 1, which one element need not have
    return flat.copy_(tensor.detach().reshape(-1)).view(torch.uint8).numpy().tobytes()
