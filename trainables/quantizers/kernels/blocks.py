"""Tensors cut into buckets, and walked in blocks that stay in a core's cache.

Quantizing a tensor takes some ten elementwise steps. Each of them over a whole large tensor would read and
write main memory; over a block of whole buckets that fits the cache, memory sees the input once and the
output little more than once. On other devices, where starting a kernel is what costs, there is one block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

SMALLEST_RANGE = 1e-10
"""A bucket whose range is below this is constant: it is reproduced by its offset alone."""

SCALE_DTYPES = {"float16": torch.float16, "float32": torch.float32}

BLOCK = 2**18
"""Values per block: 1 MiB of float32. Smaller blocks are nearer to the core, but starting ten steps on each
then takes longer than the steps; larger ones leave temporary tensors no room in a cache."""

HUGE_PAGE = 2**21
"""Bytes of a huge page, of most processors."""

HUGE_BYTES = 2**22
"""From this size on, NumPy asks Linux for huge pages."""


class Cut(NamedTuple):
    """A tensor of ``size`` values, flat, and how it is cut.

    ``flat`` are the values in their own dtype, shape (size,) on the CPU; elsewhere the last value is
    repeated until the last bucket is full. ``length`` is that of a bucket, at least 1, and ``buckets``
    their number.
    """

    flat: Tensor
    size: int
    length: int
    buckets: int


def check_buckets(bucket_size: int | None, scale_dtype: str) -> None:
    """Raise ValueError unless ``bucket_size`` is None or at least 1 and ``scale_dtype`` is known."""
    if bucket_size is not None and (not isinstance(bucket_size, int) or bucket_size < 1):
        raise ValueError(f"bucket_size must be at least 1 or None, got {bucket_size=}")
    if scale_dtype not in SCALE_DTYPES:
        raise ValueError(f"scale_dtype must be one of {', '.join(SCALE_DTYPES)}, got {scale_dtype=}")


def cut(x: Tensor, bucket_size: int | None) -> Cut:
    """Flatten ``x`` (any shape, strides and dtype), detached, into buckets of ``bucket_size`` values."""
    flat = x.detach().reshape(-1)
    count = flat.numel()
    length = max(count if bucket_size is None else min(bucket_size, count), 1)
    missing = -count % length
    if missing and not _on_cpu(flat):
        # The last value is in the last bucket already, so repeating it does not move the bucket's ends; one
        # more kernel here saves a second round of all others for a short last bucket.
        flat = torch.cat([flat, flat[-1:].expand(missing)])
    return Cut(flat, count, length, -(-count // length))


def blocks(whole: Cut, *others: Tensor, per_bucket: tuple[Tensor, ...] = ()) -> Iterator[tuple[Tensor, ...]]:
    """The buckets of ``whole`` block by block, with the same places of other tensors.

    Args:
        whole: a cut tensor.
        others: tensors as long as ``whole.flat``.
        per_bucket: tensors of shape (buckets, 1).

    Yields:
        Views of ``whole.flat`` and ``others``, shape (buckets in the block, bucket length), then of
        ``per_bucket``, shape (buckets in the block, 1). A short last bucket is a block of its own.
    """
    flats = (whole.flat, *others)
    full = whole.flat.numel() // whole.length
    per = max(1, (BLOCK if _on_cpu(whole.flat) else whole.flat.numel()) // whole.length)
    if full:
        rows = [tensor[: full * whole.length].view(full, whole.length).split(per) for tensor in flats]
        yield from zip(*rows, *(tensor[:full].split(per) for tensor in per_bucket), strict=True)
    if full < whole.buckets:
        tails = tuple(tensor[full * whole.length :].view(1, -1) for tensor in flats)
        yield (*tails, *(tensor[full:] for tensor in per_bucket))


def pieces(*rows: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The same columns of tensors of one shape; more than one piece only where a bucket exceeds a block."""
    if rows[0].shape[1] <= BLOCK or not _on_cpu(rows[0]):
        return iter((rows,))
    return zip(*(tensor.split(BLOCK, dim=1) for tensor in rows), strict=True)


def walk(
    whole: Cut,
    others: tuple[Tensor, ...],
    fit: Callable[[Tensor], tuple[Tensor, ...]],
    work: Callable[..., object],
    stored: tuple[Tensor, ...] = (),
) -> None:
    """Fit something to each bucket, then work on its values.

    Args:
        whole: the values.
        others: tensors as long as ``whole.flat``: what ``work`` writes.
        fit: float32 values, shape (buckets, bucket length) -> what it found, each (buckets, 1).
        work: called with the same places of the float32 values and of ``others``, all of one shape, and
            with what ``fit`` found for their buckets.
        stored: tensors of shape (buckets, 1) for the first of what ``fit`` found.
    """

    for tensors in blocks(whole, *others, per_bucket=stored):
        rows, places, kept = tensors[0].float(), tensors[1 : 1 + len(others)], tensors[1 + len(others) :]
        found = fit(rows)
        for target, value in zip(kept, found, strict=False):
            target.copy_(value)
        for piece in pieces(rows, *places):
            work(*piece, *found)


def ends(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest and largest value of each row, shape (rows, 1); NaN where a row holds NaN."""
    if not _on_cpu(rows):
        low, high = torch.aminmax(rows, dim=1, keepdim=True)
        return low, high
    # On the CPU, aminmax along a row is not vectorized: both of these together take a tenth of its time.
    found = [(part.amin(1, keepdim=True), part.amax(1, keepdim=True)) for (part,) in pieces(rows)]
    if len(found) == 1:
        return found[0]
    lows, highs = zip(*found, strict=True)
    return torch.cat(lows, 1).amin(1, keepdim=True), torch.cat(highs, 1).amax(1, keepdim=True)


def ranges(rows: Tensor, scale_dtype: str) -> tuple[Tensor, Tensor]:
    """Offset (smallest value) and scale (range) of float32 ``rows``: float32, (rows, 1), as stored."""
    low, high = ends(rows)
    dtype = SCALE_DTYPES[scale_dtype]
    # Adding zero makes -0.0, to which a small negative end is rounded, 0.0: codes know one zero.
    offset = low.to(dtype).float() + 0.0
    scale = (high - offset).to(dtype).float()
    return offset, scale.masked_fill_(scale < SMALLEST_RANGE, 1.0)


def empty(count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """An uninitialized tensor of shape (count,), large ones on the CPU in huge pages where there are any.

    A large allocation is new memory at every call: in pages of 4 KiB, the faults of touching it first take
    several times as long as writing it.
    """
    size = count * dtype.itemsize
    if device.type != "cpu" or size < HUGE_BYTES:
        return torch.empty(count, dtype=dtype, device=device)
    # Begun at a huge page, and with another behind, so that the first and the last page are huge as well.
    # What is never touched takes no memory.
    raw = np.empty(size + 2 * HUGE_PAGE, dtype=np.uint8)
    start = -raw.ctypes.data % HUGE_PAGE
    return torch.from_numpy(raw[start : start + size]).view(dtype)


def _on_cpu(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu"
