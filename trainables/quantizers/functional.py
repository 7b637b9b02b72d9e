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

from trainables.quantizers.blocks import (
    SCALE_DTYPES,
    SMALLEST_RANGE,
    Cut,
    blocks,
    check_buckets,
    cut,
    empty,
    ends,
    pieces,
    ranges,
    walk,
)
from trainables.quantizers.kmeans import kmeans_points
from trainables.quantizers.nearest import Finder

__all__ = [
    "SCALE_DTYPES",
    "SMALLEST_RANGE",
    "Buckets",
    "Levels",
    "SymmetricLevels",
    "decode_points",
    "decode_symmetric",
    "decode_uniform",
    "initial_points",
    "nearest_point",
    "points_codes",
    "quantize_points",
    "quantize_symmetric",
    "quantize_uniform",
    "scale_buckets",
    "symmetric_codes",
    "uniform_codes",
    "uniform_index",
    "uniform_scale_gradient",
]

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


class Levels(NamedTuple):
    """A tensor as level numbers between the ends of its buckets.

    ``numbers`` are uint8, of the tensor's shape; ``offset`` and ``scale`` are of the scale dtype, shape
    (buckets,).
    """

    numbers: Tensor
    offset: Tensor
    scale: Tensor


class SymmetricLevels(NamedTuple):
    """A tensor as level numbers around zero.

    ``numbers`` are uint8, of the tensor's shape, in [0, 2^bits - 2]; ``2^(bits - 1) - 1`` is worth zero.
    ``step`` is of the scale dtype, shape (buckets,).
    """

    numbers: Tensor
    step: Tensor


def scale_buckets(x: Tensor, bucket_size: int | None, scale_dtype: str = "float32") -> Buckets:
    """Scale ``x`` (any shape) to [0, 1] bucket by bucket.

    Args:
        x: floating point values.
        bucket_size: at least 1, or None for one bucket.
        scale_dtype: ``float32`` or ``float16``.

    Raises:
        ValueError: ``bucket_size`` below 1 or an unknown ``scale_dtype``.
    """
    whole = _cut(x, bucket_size, scale_dtype)
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
        lambda part, low, width: _scale(part, low, width, out=part),
        (offset, scale),
    )
    return Buckets(unit.view(whole.buckets, whole.length), offset, scale)


def uniform_index(
    unit: Tensor, bits: int, *, rounding: str = "nearest", generator: torch.Generator | None = None
) -> Tensor:
    """Level numbers (float32, 0 to 2^bits - 1) of scaled values, half to even or stochastic."""
    steps = _steps(bits)
    return _round(unit.detach().float() * steps, steps, _checked_rounding(rounding), generator)


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
    grid = _Even(bits, rounding, generator, scale_dtype)
    whole = _cut(x, bucket_size, scale_dtype)
    values = empty(whole.flat.numel(), x.dtype, x.device)

    def work(part: Tensor, into: Tensor, offset: Tensor, scale: Tensor, per_unit: Tensor) -> None:
        # In place from here on: the block is read once and written once.
        room = _room(into)
        grid.levels(part, offset, per_unit, out=room)
        _worth_uniform(room, grid.steps, offset, scale)
        _settle(room, into)

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
    grid = _Even(bits, rounding, generator, scale_dtype)
    whole = _cut(x, bucket_size, scale_dtype)
    index = empty(whole.flat.numel(), torch.uint8, x.device)
    offsets, scales = _per_bucket(whole, scale_dtype, 2)

    def work(part: Tensor, into: Tensor, offset: Tensor, scale: Tensor, per_unit: Tensor) -> None:
        _narrow(grid.levels(part, offset, per_unit, out=torch.empty_like(part)), into)

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
    steps = _steps(bits)

    def worth(part: Tensor, code: Tensor, offset: Tensor, scale: Tensor) -> None:
        _worth_uniform(part.copy_(code), steps, offset, scale)

    return _decode(index, steps + 1, (offset, scale), bucket_size, worth)


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
    steps = _steps(bits)
    if not gradient.shape == index.shape == x.shape:
        raise ValueError(
            "gradient and index must have the shape of x, "
            f"got {tuple(gradient.shape)}, {tuple(index.shape)} and {tuple(x.shape)}"
        )
    whole = _cut(x, bucket_size, scale_dtype)
    incoming = cut(gradient, bucket_size).flat
    incoming[whole.size :] = 0.0  # places that pad a bucket count for nothing
    result = empty(whole.flat.numel(), gradient.dtype, x.device)

    for block, codes, pulled, target in blocks(whole, cut(index, bucket_size).flat, incoming, result):
        rows = block.float()
        offset, scale = ranges(rows, scale_dtype)
        low, high = ends(rows)
        moved = torch.zeros_like(offset)
        for part, code, pull in pieces(rows, codes, pulled):
            off_level = (code.float() / steps).sub_(_scale(part, offset, scale, out=torch.empty_like(part)))
            moved += off_level.mul_(pull).sum(1, keepdim=True)
        moved.masked_fill_(high - low < SMALLEST_RANGE, 0.0)
        target.copy_(pulled)
        target.scatter_add_(1, rows.argmax(1, keepdim=True), moved.to(target.dtype))
        target.scatter_add_(1, rows.argmin(1, keepdim=True), moved.neg().to(target.dtype))
    return result[: whole.size].reshape(gradient.shape)


def nearest_point(unit: Tensor, points: Tensor) -> Tensor:
    """Number (int64) of the nearest of the ascending ``points`` for each value; ties go up.

    Raises:
        ValueError: fewer than 2 points, or they do not ascend.
    """
    unit = unit.detach().float()
    find = Finder(_checked_points(points), unit.numel())
    number = empty(unit.numel(), torch.int64, unit.device)

    for part, into in blocks(cut(unit, 1), number):
        _widen(find(part), into)
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
    whole = _cut(x, bucket_size, scale_dtype)
    values = empty(whole.flat.numel(), x.dtype, x.device)
    number = empty(whole.flat.numel(), torch.int64, x.device)
    find = Finder(points, whole.size)

    def work(part: Tensor, into: Tensor, chosen: Tensor, offset: Tensor, scale: Tensor) -> None:
        room = _room(into)
        _widen(find(_scale(part, offset, scale, out=room)), chosen)
        _worth_points(room, chosen, points, offset, scale)
        _settle(room, into)

    walk(whole, (values, number), lambda rows: ranges(rows, scale_dtype), work)
    return values[: whole.size].reshape(x.shape), number[: whole.size].reshape(x.shape)


def points_codes(
    x: Tensor, points: Tensor, bucket_size: int | None, *, scale_dtype: str = "float32"
) -> Levels:
    """The codes of :func:`quantize_points`, which takes the same arguments; at most 256 points."""
    points = _checked_points(points, most=256)
    whole = _cut(x, bucket_size, scale_dtype)
    index = empty(whole.flat.numel(), torch.uint8, x.device)
    offsets, scales = _per_bucket(whole, scale_dtype, 2)
    find = Finder(points, whole.size)

    def work(part: Tensor, into: Tensor, offset: Tensor, scale: Tensor) -> None:
        _narrow(find(_scale(part, offset, scale, out=torch.empty_like(part))), into)

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

    return _decode(index, points.numel(), (offset, scale), bucket_size, worth)


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
        method: ``quantile`` (equal mass between points; the paper's default), ``uniform``, or ``kmeans``
            (of the scaled values; see :func:`kmeans_points`).
        scale_dtype: ``float32`` or ``float16``.

    Returns:
        float32, shape (count,), ascending; by quantiles, from the smallest to the largest scaled value.
        Places that pad the last bucket do not count. An empty tensor has uniform points.

    Raises:
        ValueError: an argument outside its range.
    """
    if count < 2:
        raise ValueError(f"count must be at least 2, got {count=}")
    if method not in ("quantile", "uniform", "kmeans"):
        raise ValueError(f"method must be 'quantile', 'uniform' or 'kmeans', got {method=}")
    check_buckets(bucket_size, scale_dtype)
    if method == "uniform" or x.numel() == 0:
        return torch.linspace(0.0, 1.0, count, device=x.device)
    unit = scale_buckets(x, bucket_size, scale_dtype).unit.reshape(-1)[: x.numel()]
    if method == "kmeans":
        return kmeans_points(unit, count).float().to(x.device)
    # Places are float64 on the CPU, because float32 cannot number more than 2^24 values.
    place = torch.linspace(0.0, 1.0, count, dtype=torch.float64) * (x.numel() - 1)
    below = place.floor()
    ordered = unit.sort().values
    low = ordered[below.long().to(x.device)]
    high = ordered[place.ceil().long().to(x.device)]
    return torch.lerp(low, high, (place - below).float().to(x.device))


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
    whole = _cut(x, bucket_size, scale_dtype)
    values = empty(whole.flat.numel(), x.dtype, x.device)

    def work(part: Tensor, into: Tensor, step: Tensor, per_step: Tensor) -> None:
        room = _room(into)
        # Adding zero makes -0.0, which no code stands for, 0.0.
        _centred(part, per_step, top, out=room).add_(0.0).mul_(step)
        _settle(room, into)

    walk(whole, (values,), lambda rows: _symmetric_steps(rows, top, scale_dtype), work)
    return values[: whole.size].reshape(x.shape)


def symmetric_codes(
    x: Tensor, bits: int, bucket_size: int | None, *, scale_dtype: str = "float32"
) -> SymmetricLevels:
    """The codes of :func:`quantize_symmetric`, which takes the same arguments."""
    top = _top(bits)
    whole = _cut(x, bucket_size, scale_dtype)
    index = empty(whole.flat.numel(), torch.uint8, x.device)
    (steps,) = _per_bucket(whole, scale_dtype, 1)

    def work(part: Tensor, into: Tensor, step: Tensor, per_step: Tensor) -> None:
        _narrow(_centred(part, per_step, top, out=torch.empty_like(part)).add_(top), into)

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

    return _decode(index, 2 * top + 1, (step,), bucket_size, worth)


class _Even:
    """Even levels between the ends of a bucket: the one place that decides which of them a value takes."""

    def __init__(self, bits: int, rounding: str, generator: torch.Generator | None, scale_dtype: str) -> None:
        self.steps = _steps(bits)
        self.rounding = _checked_rounding(rounding)
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
        return _round(scaled, self.steps, self.rounding, self.generator)


def _round(scaled: Tensor, steps: int, rounding: str, generator: torch.Generator | None) -> Tensor:
    """Round float32 ``scaled`` in place."""
    if rounding == "nearest":
        return scaled.round_()
    below = scaled.floor()
    beyond = scaled.sub_(below)
    noise = torch.empty_like(scaled).uniform_(generator=generator)
    # Strictly less: a value on a level stays there.
    return torch.add(below, torch.lt(noise, beyond, out=noise), out=scaled).clamp_(0, steps)


def _scale(rows: Tensor, offset: Tensor, scale: Tensor, out: Tensor) -> Tensor:
    return torch.sub(rows, offset, out=out).div_(scale).clamp_(0.0, 1.0)


def _worth_uniform(levels: Tensor, steps: int, offset: Tensor, scale: Tensor) -> None:
    """Level numbers -> values, in place, in the order that :class:`Codes` states."""
    # As a tensor on the device, because there a division by a number becomes a product with its reciprocal.
    levels.div_(torch.full((), float(steps), device=levels.device)).mul_(scale).add_(offset)


def _worth_points(out: Tensor, number: Tensor, points: Tensor, offset: Tensor, scale: Tensor) -> None:
    torch.index_select(points, 0, number.reshape(-1), out=out.view(-1))
    out.mul_(scale).add_(offset)


def _symmetric_steps(rows: Tensor, top: int, scale_dtype: str) -> tuple[Tensor, Tensor]:
    """Steps of the float32 ``rows`` as stored, and levels per unit, shape (rows, 1)."""
    low, high = ends(rows)
    largest = torch.maximum(low.neg(), high)
    step = (largest / top).clamp_(min=SMALLEST_STEPS[scale_dtype]).to(SCALE_DTYPES[scale_dtype]).float()
    step.masked_fill_(largest == 0, 1.0)
    return step, step.reciprocal()


def _centred(rows: Tensor, per_step: Tensor, top: int, out: Tensor) -> Tensor:
    return torch.mul(rows, per_step, out=out).round_().clamp_(-top, top)


def _decode(
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


def _cut(x: Tensor, bucket_size: int | None, scale_dtype: str) -> Cut:
    check_buckets(bucket_size, scale_dtype)
    if not x.is_floating_point():
        raise ValueError(f"x must be of a floating dtype, got {x.dtype}")
    return cut(x, bucket_size)


def _per_bucket(whole: Cut, scale_dtype: str, number: int) -> tuple[Tensor, ...]:
    dtype = SCALE_DTYPES[scale_dtype]
    return tuple(whole.flat.new_empty(whole.buckets, 1, dtype=dtype) for _ in range(number))


def _room(into: Tensor) -> Tensor:
    """Where the float32 values bound for ``into`` are computed: in place where it is float32 itself."""
    return into if into.dtype == torch.float32 else torch.empty_like(into, dtype=torch.float32)


def _settle(room: Tensor, into: Tensor) -> None:
    if room is not into:
        into.copy_(room)


def _narrow(numbers: Tensor, into: Tensor) -> None:
    """Whole numbers below 256 -> uint8."""
    # From float32 straight to uint8 is not vectorized; by way of int16 takes a quarter of its time.
    into.copy_(numbers.to(torch.int16) if numbers.is_floating_point() else numbers)


def _widen(numbers: Tensor, into: Tensor) -> None:
    """Whole numbers -> int64, by way of int32 for the same reason."""
    into.copy_(numbers.to(torch.int32) if numbers.is_floating_point() else numbers)


def _checked_points(points: Tensor, most: int | None = None) -> Tensor:
    count = points.numel()
    if points.dim() != 1 or count < 2 or (most is not None and count > most):
        limits = "at least 2" if most is None else f"2 to {most}"
        raise ValueError(f"points must be a vector of {limits}, got shape {tuple(points.shape)}")
    found = points.detach().float()
    if not bool((found[1:] >= found[:-1]).all()):  # which is false of NaN as well
        raise ValueError(f"points must ascend, got {points.tolist()}")
    return found


def _checked_rounding(rounding: str) -> str:
    if rounding not in ("nearest", "stochastic"):
        raise ValueError(f"rounding must be 'nearest' or 'stochastic', got {rounding=}")
    return rounding


def _steps(bits: int) -> int:
    if not isinstance(bits, int) or not 1 <= bits <= 8:
        raise ValueError(f"bits must be in [1, 8], got {bits=}")
    return 2**bits - 1


def _top(bits: int) -> int:
    if not isinstance(bits, int) or not 2 <= bits <= 8:
        raise ValueError(f"bits must be in [2, 8] around zero, got {bits=}")
    return 2 ** (bits - 1) - 1
