"""Values on learned points."""

from __future__ import annotations

import torch
from torch import Tensor

from trainables.quantizers.kernels.blocks import (
    blocks,
    check_buckets,
    cut,
    empty,
    ranges,
    walk,
)
from trainables.quantizers.kernels.buckets import (
    cut_whole,
    decode_buckets,
    narrow_into,
    ranges_per_bucket,
    room_for,
    scale_buckets,
    scale_rows,
    settle_in,
    widen_into,
)
from trainables.quantizers.kernels.nearest import Finder
from trainables.quantizers.kernels.uniform import Levels
from trainables.quantizers.kmeans import kmeans_points


def nearest_point(unit: Tensor, points: Tensor) -> Tensor:
    """Number (int64) of the nearest of the ascending ``points`` for each value; ties go up.

    Raises:
        ValueError: fewer than 2 points, or they do not ascend.
    """
    unit = unit.detach().float()
    find = Finder(_checked_points(points), unit.numel())
    number = empty(unit.numel(), torch.int64, unit.device)

    for part, into in blocks(cut(unit, 1), number):
        widen_into(find(part), into)
    return number.reshape(unit.shape)


def quantize_points(
    x: Tensor, points: Tensor, bucket_size: int | None, *, scale_dtype: str = "float32"
) -> tuple[Tensor, Tensor]:
    """Move each value to the nearest of ``points`` in its scaled bucket (paper, section 4).

    Args:
        x: any shape and floating dtype.
        points: float32, shape (at least 2,), ascending, in the scaled domain, on the device of ``x``.
        bucket_size: at least 1, or None.
        scale_dtype: ``float32`` or ``float16``.

    Returns:
        The quantized tensor and the number of the point of each element (int64), both of ``x``'s shape.

    Raises:
        ValueError: an argument outside its range.
    """
    points = _checked_points(points)
    whole = cut_whole(x, bucket_size, scale_dtype)
    values = empty(whole.flat.numel(), x.dtype, x.device)
    number = empty(whole.flat.numel(), torch.int64, x.device)
    find = Finder(points, whole.size)

    def work(part: Tensor, into: Tensor, chosen: Tensor, offset: Tensor, scale: Tensor) -> None:
        room = room_for(into)
        widen_into(find(scale_rows(part, offset, scale, out=room)), chosen)
        _worth_points(room, chosen, points, offset, scale)
        settle_in(room, into)

    walk(whole, (values, number), lambda rows: ranges(rows, scale_dtype), work)
    return values[: whole.size].reshape(x.shape), number[: whole.size].reshape(x.shape)


def points_codes(
    x: Tensor, points: Tensor, bucket_size: int | None, *, scale_dtype: str = "float32"
) -> Levels:
    """The codes of :func:`quantize_points`, which takes the same arguments; at most 256 points."""
    points = _checked_points(points, most=256)
    whole = cut_whole(x, bucket_size, scale_dtype)
    index = empty(whole.flat.numel(), torch.uint8, x.device)
    offsets, scales = ranges_per_bucket(whole, scale_dtype, 2)
    find = Finder(points, whole.size)

    def work(part: Tensor, into: Tensor, offset: Tensor, scale: Tensor) -> None:
        narrow_into(find(scale_rows(part, offset, scale, out=torch.empty_like(part))), into)

    walk(whole, (index,), lambda rows: ranges(rows, scale_dtype), work, (offsets, scales))
    return Levels(index[: whole.size].reshape(x.shape), offsets.reshape(-1), scales.reshape(-1))


def decode_points(
    index: Tensor, offset: Tensor, scale: Tensor, points: Tensor, bucket_size: int | None
) -> Tensor:
    """The float32 values, of the shape of ``index``, that the codes of :func:`points_codes` stand for.

    Raises:
        ValueError: an argument outside its range, another number of scales than of buckets, or a code that
            stands for no level.
    """
    points = _checked_points(points)

    def worth(part: Tensor, code: Tensor, offset: Tensor, scale: Tensor) -> None:
        _worth_points(part, code.long(), points, offset, scale)

    return decode_buckets(index, points.numel(), (offset, scale), bucket_size, worth)


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
        method: ``quantile`` (equal mass between points; the paper's default), ``uniform``, ``kmeans``
            (of the scaled values; see :func:`kmeans_points`), or ``kmeans_published``, stopped as published.
        scale_dtype: ``float32`` or ``float16``.

    Returns:
        float32, shape (count,), ascending; by quantiles, from the smallest to the largest scaled value.
        Places that pad the last bucket do not count. An empty tensor has uniform points.

    Raises:
        ValueError: an argument outside its range.
    """
    if count < 2:
        raise ValueError(f"count must be at least 2, got {count=}")
    methods = ("quantile", "uniform", "kmeans", "kmeans_published")
    if method not in methods:
        raise ValueError(f"method must be one of {', '.join(map(repr, methods))}, got {method=}")
    check_buckets(bucket_size, scale_dtype)
    if method == "uniform" or x.numel() == 0:
        return torch.linspace(0.0, 1.0, count, device=x.device)
    unit = scale_buckets(x, bucket_size, scale_dtype).unit.reshape(-1)[: x.numel()]
    if method == "kmeans":
        return kmeans_points(unit, count).float().to(x.device)
    if method == "kmeans_published":
        return kmeans_points(unit, count, 300, 1e-4).float().to(x.device)
    # Places are float64 on the CPU, because float32 cannot number more than 2^24 values.
    place = torch.linspace(0.0, 1.0, count, dtype=torch.float64) * (x.numel() - 1)
    below = place.floor()
    ordered = unit.sort().values
    low = ordered[below.long().to(x.device)]
    high = ordered[place.ceil().long().to(x.device)]
    return torch.lerp(low, high, (place - below).float().to(x.device))


def _worth_points(out: Tensor, number: Tensor, points: Tensor, offset: Tensor, scale: Tensor) -> None:
    torch.index_select(points, 0, number.reshape(-1), out=out.view(-1))
    out.mul_(scale).add_(offset)


def _checked_points(points: Tensor, most: int | None = None) -> Tensor:
    count = points.numel()
    if points.dim() != 1 or count < 2 or (most is not None and count > most):
        limits = "at least 2" if most is None else f"2 to {most}"
        raise ValueError(f"points must be a vector of {limits}, got shape {tuple(points.shape)}")
    found = points.detach().float()
    if not bool((found[1:] >= found[:-1]).all()):  # which is false of NaN as well
        raise ValueError(f"points must ascend, got {points.tolist()}")
    return found
