"""Values on even grids around zero."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from trainables.quantizers.kernels.blocks import (
    SCALE_DTYPES,
    empty,
    ends,
    walk,
)
from trainables.quantizers.kernels.buckets import (
    SMALLEST_STEPS,
    cut_whole,
    decode_buckets,
    narrow_into,
    ranges_per_bucket,
    room_for,
    settle_in,
)


class SymmetricLevels(NamedTuple):
    """A tensor as level numbers around zero.

    ``numbers`` are uint8, of the tensor's shape, in [0, 2^bits - 2]; ``2^(bits - 1) - 1`` is worth zero.
    ``step`` is of the scale dtype, shape (buckets,).
    """

    numbers: Tensor
    step: Tensor


def quantize_symmetric(
    x: Tensor, bits: int, bucket_size: int | None, *, scale_dtype: str = "float32"
) -> Tensor:
    """Move each value to the nearest of ``2^bits - 1`` even levels around an exact zero.

    The levels are ``-(2^(bits - 1) - 1)`` to ``2^(bits - 1) - 1`` times the bucket's step, which is its
    largest magnitude over ``2^(bits - 1) - 1``. Zero stays zero, and ``Q(-x) = -Q(x)``. One scale per
    output channel is ``bucket_size`` = values per channel.

    Args:
        x: any shape and floating dtype.
        bits: in [2, 8].
        bucket_size: at least 1, or None.
        scale_dtype: of the steps; where rounding makes a step too small, values beyond the last level
            move to it. The step of a bucket of zeros is 1.

    Returns:
        The quantized tensor, of the shape and dtype of ``x``.

    Raises:
        ValueError: an argument outside its range.
    """
    top = _top(bits)
    whole = cut_whole(x, bucket_size, scale_dtype)
    values = empty(whole.flat.numel(), x.dtype, x.device)

    def work(part: Tensor, into: Tensor, step: Tensor, per_step: Tensor) -> None:
        room = room_for(into)
        # Adding zero makes -0.0, which no code stands for, 0.0.
        _centred(part, per_step, top, out=room).add_(0.0).mul_(step)
        settle_in(room, into)

    walk(whole, (values,), lambda rows: _symmetric_steps(rows, top, scale_dtype), work)
    return values[: whole.size].reshape(x.shape)


def symmetric_codes(
    x: Tensor, bits: int, bucket_size: int | None, *, scale_dtype: str = "float32"
) -> SymmetricLevels:
    """The codes of :func:`quantize_symmetric`, which takes the same arguments."""
    top = _top(bits)
    whole = cut_whole(x, bucket_size, scale_dtype)
    index = empty(whole.flat.numel(), torch.uint8, x.device)
    (steps,) = ranges_per_bucket(whole, scale_dtype, 1)

    def work(part: Tensor, into: Tensor, step: Tensor, per_step: Tensor) -> None:
        narrow_into(_centred(part, per_step, top, out=torch.empty_like(part)).add_(top), into)

    walk(whole, (index,), lambda rows: _symmetric_steps(rows, top, scale_dtype), work, (steps,))
    return SymmetricLevels(index[: whole.size].reshape(x.shape), steps.reshape(-1))


def decode_symmetric(index: Tensor, step: Tensor, bits: int, bucket_size: int | None) -> Tensor:
    """The float32 values, of the shape of ``index``, that the codes of :func:`symmetric_codes` stand for.

    Raises:
        ValueError: an argument outside its range, another number of scales than of buckets, or a code that
            stands for no level.
    """
    top = _top(bits)

    def worth(part: Tensor, code: Tensor, step: Tensor) -> None:
        part.copy_(code).sub_(top).mul_(step)

    return decode_buckets(index, 2 * top + 1, (step,), bucket_size, worth)


def _symmetric_steps(rows: Tensor, top: int, scale_dtype: str) -> tuple[Tensor, Tensor]:
    """Steps of the float32 ``rows`` as stored, and levels per unit, shape (rows, 1)."""
    low, high = ends(rows)
    largest = torch.maximum(low.neg(), high)
    step = (largest / top).clamp_(min=SMALLEST_STEPS[scale_dtype]).to(SCALE_DTYPES[scale_dtype]).float()
    step.masked_fill_(largest == 0, 1.0)
    return step, step.reciprocal()


def _centred(rows: Tensor, per_step: Tensor, top: int, out: Tensor) -> Tensor:
    return torch.mul(rows, per_step, out=out).round_().clamp_(-top, top)


def _top(bits: int) -> int:
    if not isinstance(bits, int) or not 2 <= bits <= 8:
        raise ValueError(f"bits must be in [2, 8] around zero, got {bits=}")
    return 2 ** (bits - 1) - 1
