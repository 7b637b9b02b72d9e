"""Values on even grids between the ends of a bucket."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from trainables.quantizers.kernels.blocks import (
    SMALLEST_RANGE,
    blocks,
    cut,
    empty,
    ends,
    pieces,
    ranges,
    walk,
)
from trainables.quantizers.kernels.buckets import (
    Even,
    checked_rounding,
    cut_whole,
    decode_buckets,
    narrow_into,
    ranges_per_bucket,
    room_for,
    round_levels,
    scale_rows,
    settle_in,
    steps_of,
)


class Levels(NamedTuple):
    """A tensor as level numbers between the ends of its buckets.

    ``numbers`` are uint8, of the tensor's shape; ``offset`` and ``scale`` are of the scale dtype, shape
    (buckets,).
    """

    numbers: Tensor
    offset: Tensor
    scale: Tensor


def uniform_index(
    unit: Tensor, bits: int, *, rounding: str = "nearest", generator: torch.Generator | None = None
) -> Tensor:
    """Level numbers (float32, 0 to 2^bits - 1) of scaled values, half to even or stochastic."""
    steps = steps_of(bits)
    return round_levels(unit.detach().float() * steps, steps, checked_rounding(rounding), generator)


def quantize_uniform(
    x: Tensor,
    bits: int,
    bucket_size: int | None,
    *,
    rounding: str = "nearest",
    generator: torch.Generator | None = None,
    scale_dtype: str = "float32",
) -> Tensor:
    """Move each value to the nearest of ``2^bits`` evenly spaced levels of its bucket (paper, section 2.1).

    Args:
        x: any shape and floating dtype.
        bits: in [1, 8].
        bucket_size: at least 1, or None.
        rounding: ``nearest`` (half to even) or ``stochastic`` (unbiased).
        generator: source of randomness for stochastic rounding; must live on the device of ``x``.
        scale_dtype: ``float32`` or ``float16``.

    Returns:
        The quantized tensor, of the shape and dtype of ``x``. With float32 scales, no value of a
        float32 or float64 tensor moves by more than its bucket's range / (2 * (2^bits - 1)) and float32's
        rounding; narrower dtypes add their own.

    Raises:
        ValueError: an argument outside its range.
    """
    grid = Even(bits, rounding, generator, scale_dtype)
    whole = cut_whole(x, bucket_size, scale_dtype)
    values = empty(whole.flat.numel(), x.dtype, x.device)

    def work(part: Tensor, into: Tensor, offset: Tensor, scale: Tensor, per_unit: Tensor) -> None:
        # In place from here on: the block is read once and written once.
        room = room_for(into)
        grid.levels(part, offset, per_unit, out=room)
        _worth_uniform(room, grid.steps, offset, scale)
        settle_in(room, into)

    walk(whole, (values,), grid.fit, work)
    return values[: whole.size].reshape(x.shape)


def uniform_codes(
    x: Tensor,
    bits: int,
    bucket_size: int | None,
    *,
    rounding: str = "nearest",
    generator: torch.Generator | None = None,
    scale_dtype: str = "float32",
) -> Levels:
    """The codes of :func:`quantize_uniform`, which takes the same arguments.

    ``decode_uniform(*uniform_codes(x, bits, size), bits, size)`` equals ``quantize_uniform(x, bits, size)``
    for float32 ``x``, bit for bit on the CPU.
    """
    grid = Even(bits, rounding, generator, scale_dtype)
    whole = cut_whole(x, bucket_size, scale_dtype)
    index = empty(whole.flat.numel(), torch.uint8, x.device)
    offsets, scales = ranges_per_bucket(whole, scale_dtype, 2)

    def work(part: Tensor, into: Tensor, offset: Tensor, scale: Tensor, per_unit: Tensor) -> None:
        narrow_into(grid.levels(part, offset, per_unit, out=torch.empty_like(part)), into)

    walk(whole, (index,), grid.fit, work, (offsets, scales))
    return Levels(index[: whole.size].reshape(x.shape), offsets.reshape(-1), scales.reshape(-1))


def decode_uniform(
    index: Tensor, offset: Tensor, scale: Tensor, bits: int, bucket_size: int | None
) -> Tensor:
    """The float32 values, of the shape of ``index``, that the codes of :func:`uniform_codes` stand for.

    Raises:
        ValueError: an argument outside its range, another number of scales than of buckets, or a code that
            stands for no level.
    """
    steps = steps_of(bits)

    def worth(part: Tensor, code: Tensor, offset: Tensor, scale: Tensor) -> None:
        _worth_uniform(part.copy_(code), steps, offset, scale)

    return decode_buckets(index, steps + 1, (offset, scale), bucket_size, worth)


def uniform_scale_gradient(
    gradient: Tensor,
    x: Tensor,
    index: Tensor,
    bits: int,
    bucket_size: int | None,
    *,
    scale_dtype: str = "float32",
) -> Tensor:
    """The gradient of uniform quantization straight through its rounding and through its scale.

    A quantized value is ``scale * level + offset``; with the rounding taken as the identity, it moves with
    the smallest and largest value of its bucket too. With ``S`` the sum over a bucket of
    ``gradient * (level - scaled value)``, the largest value's gradient gains ``S`` and the smallest's loses
    it (``complicated`` in the published code). Of equal ends, the first counts. The rounding of scales to
    ``scale_dtype`` is taken as the identity too; a constant bucket has nothing to gain.

    Args:
        gradient: of the loss by the quantized values; any floating dtype, the shape of ``x``.
        x: what was quantized.
        index: its level numbers, the shape of ``x``, any dtype (see :class:`Levels`).
        bits, bucket_size, scale_dtype: as it was quantized.

    Returns:
        The gradient of the loss by ``x``: the shape and dtype of ``gradient``.

    Raises:
        ValueError: other shapes than that of ``x``, or an argument outside its range.
    """
    steps = steps_of(bits)
    if not gradient.shape == index.shape == x.shape:
        raise ValueError(
            "gradient and index must have the shape of x, "
            f"got {tuple(gradient.shape)}, {tuple(index.shape)} and {tuple(x.shape)}"
        )
    whole = cut_whole(x, bucket_size, scale_dtype)
    incoming = cut(gradient, bucket_size).flat
    incoming[whole.size :] = 0.0  # places that pad a bucket count for nothing
    result = empty(whole.flat.numel(), gradient.dtype, x.device)

    for block, codes, pulled, target in blocks(whole, cut(index, bucket_size).flat, incoming, result):
        rows = block.float()
        offset, scale = ranges(rows, scale_dtype)
        low, high = ends(rows)
        moved = torch.zeros_like(offset)
        for part, code, pull in pieces(rows, codes, pulled):
            off_level = (code.float() / steps).sub_(
                scale_rows(part, offset, scale, out=torch.empty_like(part))
            )
            moved += off_level.mul_(pull).sum(1, keepdim=True)
        moved.masked_fill_(high - low < SMALLEST_RANGE, 0.0)
        target.copy_(pulled)
        target.scatter_add_(1, rows.argmax(1, keepdim=True), moved.to(target.dtype))
        target.scatter_add_(1, rows.argmin(1, keepdim=True), moved.neg().to(target.dtype))
    return result[: whole.size].reshape(gradient.shape)


def _worth_uniform(levels: Tensor, steps: int, offset: Tensor, scale: Tensor) -> None:
    """Level numbers -> values, in place, in the order that :class:`Codes` states."""
    # As a tensor on the device, because there a division by a number becomes a product with its reciprocal.
    levels.div_(torch.full((), float(steps), device=levels.device)).mul_(scale).add_(offset)
