"""Quantization as pure functions, on any device (Polino, Pascanu & Alistarh 2018, sections 2 and 4).

A tensor is flattened and cut into buckets of ``bucket_size`` consecutive values; each bucket is scaled
to [0, 1] by its own offset (its minimum) and scale (its range), and the scaled values are moved to the
nearest of a few levels. ``bucket_size=None`` means one bucket for the whole tensor.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

SMALLEST_RANGE = 1e-10
"""A bucket whose range is below this is constant: it is reproduced by its offset alone."""

SCALE_DTYPES = {"float16": torch.float16, "float32": torch.float32}


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
        scale_dtype: ``float32`` or ``float16``; offset and scale are rounded to it before they are used,
            so what is computed here is what a file that stores them reproduces.

    Raises:
        ValueError: ``bucket_size`` below 1 or an unknown ``scale_dtype``.

    Values beyond the range of float16 (65504) give infinite scales there, and NaN in their bucket.
    """
    if bucket_size is not None and bucket_size < 1:
        raise ValueError(f"bucket_size must be at least 1 or None, got {bucket_size=}")
    if scale_dtype not in SCALE_DTYPES:
        raise ValueError(f"scale_dtype must be one of {', '.join(SCALE_DTYPES)}, got {scale_dtype=}")
    flat = x.detach().reshape(-1).float()
    count = flat.numel()
    if count == 0:
        empty = flat.new_empty(0, 1)
        return Buckets(empty, empty, empty)
    length = count if bucket_size is None else min(bucket_size, count)
    missing = -count % length
    if missing:  # the last value is in the last bucket already, so repeating it moves neither min nor max
        flat = torch.cat([flat, flat[-1:].expand(missing)])
    rows = flat.view(-1, length)
    low, high = torch.aminmax(rows, dim=1, keepdim=True)
    dtype = SCALE_DTYPES[scale_dtype]
    offset = low.to(dtype).float()
    scale = (high - offset).to(dtype).float()
    scale = torch.where(scale < SMALLEST_RANGE, torch.ones_like(scale), scale)
    # Rounded scales may leave the ends of a bucket a hair outside [0, 1].
    return Buckets(((rows - offset) / scale).clamp_(0.0, 1.0), offset, scale)


def uniform_index(
    unit: Tensor, bits: int, *, rounding: str = "nearest", generator: torch.Generator | None = None
) -> Tensor:
    """Level numbers (float, 0 to 2^bits - 1) of scaled values, half to even or stochastic."""
    steps = _steps(bits)
    scaled = unit * steps
    if rounding == "nearest":
        return torch.round(scaled)
    if rounding == "stochastic":
        below = torch.floor(scaled)
        noise = torch.rand(unit.shape, generator=generator, device=unit.device, dtype=unit.dtype)
        return below + (noise < scaled - below)  # strictly less: a value on a level stays there
    raise ValueError(f"rounding must be 'nearest' or 'stochastic', got {rounding=}")


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
        generator: source of randomness for stochastic rounding.
        scale_dtype: see :func:`scale_buckets`.

    Returns:
        The quantized tensor, of the shape and dtype of ``x``. With float32 scales, no value moves by
        more than its bucket's range / (2 * (2^bits - 1)).
    """
    buckets = scale_buckets(x, bucket_size, scale_dtype)
    index = uniform_index(buckets.unit, bits, rounding=rounding, generator=generator)
    return _restore(index / _steps(bits), buckets, x)


def nearest_point(unit: Tensor, points: Tensor) -> Tensor:
    """Number (int64) of the nearest of the ascending ``points`` for each value; ties go up."""
    return torch.bucketize(unit, (points[1:] + points[:-1]) / 2, right=True)


def quantize_points(
    x: Tensor, points: Tensor, bucket_size: int | None, *, scale_dtype: str = "float32"
) -> tuple[Tensor, Tensor]:
    """Move each value to the nearest of ``points`` in its scaled bucket (paper, section 4).

    Args:
        x: any shape and floating dtype.
        points: float32, shape (at least 2,), ascending, in the scaled domain.
        bucket_size: at least 1, or None.
        scale_dtype: see :func:`scale_buckets`.

    Returns:
        The quantized tensor and the number of the point of each element (int64), both of ``x``'s shape.
    """
    buckets = scale_buckets(x, bucket_size, scale_dtype)
    index = nearest_point(buckets.unit, points)
    values = _restore(points[index], buckets, x)
    return values, index.reshape(-1)[: x.numel()].reshape(x.shape)


def initial_points(
    x: Tensor,
    count: int,
    bucket_size: int | None,
    method: str = "quantile",
    *,
    scale_dtype: str = "float32",
) -> Tensor:
    """Where learned points start.

    Args:
        x: any shape and floating dtype.
        count: at least 2.
        bucket_size: at least 1, or None.
        method: ``quantile`` (equal mass between points; the paper's default) or ``uniform``.
        scale_dtype: see :func:`scale_buckets`.

    Returns:
        float32, shape (count,), ascending from the smallest to the largest scaled value. Places that pad
        the last bucket do not count.
    """
    if count < 2:
        raise ValueError(f"count must be at least 2, got {count=}")
    even = torch.linspace(0.0, 1.0, count, device=x.device)
    if method == "uniform" or x.numel() == 0:
        return even
    if method != "quantile":
        raise ValueError(f"method must be 'quantile' or 'uniform', got {method=}")
    unit = scale_buckets(x, bucket_size, scale_dtype).unit.reshape(-1)[: x.numel()]
    ordered = unit.sort().values.double()
    place = torch.linspace(0.0, 1.0, count, device=x.device, dtype=torch.float64) * (x.numel() - 1)
    below = place.floor().long().clamp(max=x.numel() - 1)
    above = (below + 1).clamp(max=x.numel() - 1)
    return (ordered[below] + (ordered[above] - ordered[below]) * (place - below)).float()


def _steps(bits: int) -> int:
    if not 1 <= bits <= 8:
        raise ValueError(f"bits must be in [1, 8], got {bits=}")
    return 2**bits - 1


def _restore(unit: Tensor, buckets: Buckets, x: Tensor) -> Tensor:
    values = buckets.scale * unit + buckets.offset
    return values.reshape(-1)[: x.numel()].reshape(x.shape).to(x.dtype)
