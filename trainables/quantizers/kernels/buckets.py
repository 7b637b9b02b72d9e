"""Quantization as pure functions, on any device (Polino, Pascanu & Alistarh 2018, sections 2 and 4).

A tensor is flattened and cut into buckets of ``bucket_size`` consecutive values; each bucket is scaled
to [0, 1] by its own offset (its minimum) and scale (its range), and the scaled values are moved to the
nearest of a few levels. ``bucket_size=None`` means one bucket for the whole tensor.

Three grids: even levels between the ends of a bucket (``uniform``), given points in the scaled domain
(``points``), and even levels around an exact zero (``symmetric``). For each there are the quantized values,
their codes, and the values that codes stand for; on the CPU, the last are the first bit for bit. All
computation is in float32, none of it is recorded for gradients, and a bucket that holds a value that is not
finite has no finite values. Offsets and scales are rounded to ``scale_dtype`` (``float32`` or ``float16``)
before they are used, so what is computed here is what a file that stores them reproduces; where an
end or the range of a bucket is beyond float16 (65504), its values are not finite there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from trainables.quantizers.kernels.blocks import (
    SCALE_DTYPES,
    Cut,
    blocks,
    check_buckets,
    cut,
    empty,
    pieces,
    ranges,
    walk,
)

SMALLEST_STEPS = {"float16": 2.0**-24, "float32": 2.0**-126}
"""The smallest step of a symmetric grid: above zero as stored, and with a finite reciprocal."""


class Buckets(NamedTuple):
    """A tensor cut into buckets.

    ``unit`` are the scaled values, float32 in [0, 1], shape (buckets, bucket length); places behind the
    last value repeat it. ``offset`` and ``scale`` are float32, shape (buckets, 1), as stored.
    """

    unit: Tensor
    offset: Tensor
    scale: Tensor


def scale_buckets(x: Tensor, bucket_size: int | None, scale_dtype: str = "float32") -> Buckets:
    """Scale ``x`` (any shape) to [0, 1] bucket by bucket.

    Args:
        x: floating point values.
        bucket_size: at least 1, or None for one bucket.
        scale_dtype: ``float32`` or ``float16``.

    Raises:
        ValueError: ``bucket_size`` below 1 or an unknown ``scale_dtype``.
    """
    whole = cut_whole(x, bucket_size, scale_dtype)
    if whole.size == 0:
        none = whole.flat.new_empty(0, 1, dtype=torch.float32)
        return Buckets(none, none, none)
    unit = empty(whole.buckets * whole.length, torch.float32, x.device)
    unit[whole.size :] = whole.flat[-1]
    unit[: whole.flat.numel()] = whole.flat
    offset, scale = torch.empty(2, whole.buckets, 1, device=x.device)
    walk(
        Cut(unit, *whole[1:]),
        (),
        lambda rows: ranges(rows, scale_dtype),
        lambda part, low, width: scale_rows(part, low, width, out=part),
        (offset, scale),
    )
    return Buckets(unit.view(whole.buckets, whole.length), offset, scale)


class Even:
    """Even levels between the ends of a bucket: the one place that decides which of them a value takes."""

    def __init__(self, bits: int, rounding: str, generator: torch.Generator | None, scale_dtype: str) -> None:
        self.steps = steps_of(bits)
        self.rounding = checked_rounding(rounding)
        self.generator = generator
        self.scale_dtype = scale_dtype

    def fit(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Offset, scale, and levels per unit of each of the float32 ``rows``, shape (rows, 1)."""
        offset, scale = ranges(rows, self.scale_dtype)
        return offset, scale, scale.reciprocal().mul_(self.steps)

    def levels(self, rows: Tensor, offset: Tensor, per_unit: Tensor, out: Tensor) -> Tensor:
        """Level numbers of ``rows`` (float32), written to ``out``."""
        scaled = torch.sub(rows, offset, out=out).mul_(per_unit)
        if self.scale_dtype != "float32":
            # Rounded scales may leave the ends of a bucket outside the grid. Float32 ones are off by some
            # 1e-7 of a range, which rounding to the nearest of at most 256 levels removes.
            scaled.clamp_(0, self.steps)
        return round_levels(scaled, self.steps, self.rounding, self.generator)


def round_levels(scaled: Tensor, steps: int, rounding: str, generator: torch.Generator | None) -> Tensor:
    """Round float32 ``scaled`` in place."""
    if rounding == "nearest":
        return scaled.round_()
    below = scaled.floor()
    beyond = scaled.sub_(below)
    noise = torch.empty_like(scaled).uniform_(generator=generator)
    # Strictly less: a value on a level stays there.
    return torch.add(below, torch.lt(noise, beyond, out=noise), out=scaled).clamp_(0, steps)


def scale_rows(rows: Tensor, offset: Tensor, scale: Tensor, out: Tensor) -> Tensor:
    return torch.sub(rows, offset, out=out).div_(scale).clamp_(0.0, 1.0)


def decode_buckets(
    index: Tensor,
    levels: int,
    per_bucket: tuple[Tensor, ...],
    bucket_size: int | None,
    worth: Callable[..., None],
) -> Tensor:
    check_buckets(bucket_size, "float32")
    whole = cut(index, bucket_size)
    for stored in per_bucket:
        if stored.numel() != whole.buckets:
            raise ValueError(
                f"{whole.size} codes in buckets of {bucket_size} have {whole.buckets} scales, "
                f"got {stored.numel()}"
            )
    if index.numel() and (int(index.min()) < 0 or int(index.max()) >= levels):
        raise ValueError(f"codes must be in [0, {levels - 1}], got {int(index.min())} to {int(index.max())}")
    wide = tuple(stored.float().reshape(-1, 1) for stored in per_bucket)
    values = empty(whole.flat.numel(), torch.float32, index.device)

    for codes, target, *row_scales in blocks(whole, values, per_bucket=wide):
        for code, part in pieces(codes, target):
            worth(part, code, *row_scales)
    return values[: whole.size].reshape(index.shape)


def cut_whole(x: Tensor, bucket_size: int | None, scale_dtype: str) -> Cut:
    check_buckets(bucket_size, scale_dtype)
    if not x.is_floating_point():
        raise ValueError(f"x must be of a floating dtype, got {x.dtype}")
    return cut(x, bucket_size)


def ranges_per_bucket(whole: Cut, scale_dtype: str, number: int) -> tuple[Tensor, ...]:
    dtype = SCALE_DTYPES[scale_dtype]
    return tuple(whole.flat.new_empty(whole.buckets, 1, dtype=dtype) for _ in range(number))


def room_for(into: Tensor) -> Tensor:
    """Where the float32 values bound for ``into`` are computed: in place where it is float32 itself."""
    return into if into.dtype == torch.float32 else torch.empty_like(into, dtype=torch.float32)


def settle_in(room: Tensor, into: Tensor) -> None:
    if room is not into:
        into.copy_(room)


def narrow_into(numbers: Tensor, into: Tensor) -> None:
    """Whole numbers below 256 -> uint8."""
    # From float32 straight to uint8 is not vectorized; by way of int16 takes a quarter of its time.
    into.copy_(numbers.to(torch.int16) if numbers.is_floating_point() else numbers)


def widen_into(numbers: Tensor, into: Tensor) -> None:
    """Whole numbers -> int64, by way of int32 for the same reason."""
    into.copy_(numbers.to(torch.int32) if numbers.is_floating_point() else numbers)


def checked_rounding(rounding: str) -> str:
    if rounding not in ("nearest", "stochastic"):
        raise ValueError(f"rounding must be 'nearest' or 'stochastic', got {rounding=}")
    return rounding


def steps_of(bits: int) -> int:
    if not isinstance(bits, int) or not 1 <= bits <= 8:
        raise ValueError(f"bits must be in [1, 8], got {bits=}")
    return 2**bits - 1
