"""Evenly spaced levels per bucket."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor

from trainables.part import check_choice
from trainables.quantizers.base import Codes, Quantizer, WeightQuantizer
from trainables.quantizers.kernels.buckets import SCALE_DTYPES
from trainables.quantizers.kernels.uniform import (
    decode_uniform,
    quantize_uniform,
    uniform_codes,
    uniform_scale_gradient,
)
from trainables.ranges import Range

GRADIENTS = ("straight_through", "truncated", "through_scale")


class _Quantize(torch.autograd.Function):
    """Returns the quantized values bit for bit; what flows back is the part's choice."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, part: Uniform, rounding: str) -> Tensor:
        ctx.part = part
        given = _given(weight, part)
        if part.gradient == "through_scale":
            index, offset, scale = uniform_codes(
                given, part.bits, part.bucket_size, rounding=rounding, scale_dtype=part.scale_dtype
            )
            ctx.save_for_backward(weight, index)
            return decode_uniform(index, offset, scale, part.bits, part.bucket_size).to(weight.dtype)
        if part.gradient == "truncated":
            ctx.save_for_backward(weight.abs() <= 1.0)
        return quantize_uniform(
            given, part.bits, part.bucket_size, rounding=rounding, scale_dtype=part.scale_dtype
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,), part = gradients, ctx.part
        if part.gradient == "truncated":
            (inside,) = ctx.saved_tensors
            gradient = gradient * inside
        elif part.gradient == "through_scale":
            weight, index = ctx.saved_tensors
            gradient = uniform_scale_gradient(
                gradient, weight, index, part.bits, part.bucket_size, scale_dtype=part.scale_dtype
            )
        return gradient, None, None


def _given(weight: Tensor, part: Uniform) -> Tensor:
    return weight.clamp(-1.0, 1.0) if part.gradient == "truncated" else weight


class _Uniform(WeightQuantizer):
    def __init__(self, part: Uniform) -> None:
        super().__init__()
        self.part = part

    def forward(self, weight: Tensor) -> Tensor:
        return _Quantize.apply(weight, self.part, self.part.rounding if self.training else "nearest")

    @torch.no_grad()
    def encode(self, weight: Tensor, shape: tuple[int, ...], keep: Tensor | None) -> Codes:
        part = self.part
        index, offset, scale = uniform_codes(
            _given(weight, part).cpu(), part.bits, part.bucket_size, scale_dtype=part.scale_dtype
        )
        return Codes(
            index=index.reshape(-1),
            shape=shape,
            bits=part.bits,
            bucket_size=part.bucket_size,
            offset=offset,
            scale=scale,
            keep=None if keep is None else keep.cpu(),
        )


@dataclass(frozen=True)
class Uniform(Quantizer):
    """The projection of quantized distillation (Polino et al. 2018, sections 2.1 and 3).

    ``2^bits`` evenly spaced levels between the smallest and the largest value of each bucket. Whether it
    acts in training is the phase's business: never switched on before the end, it is post-training
    quantization.

    Attributes:
        bits: in [1, 8]; default 4.
        bucket_size: values that share a scale and an offset, in [2, 2^20], or None for the whole
            tensor; default 256.
        rounding: in training, ``nearest`` or ``stochastic``; the shipped weights are always nearest.
        scale_dtype: of scales and offsets, as stored and as used: ``float16`` (default) or ``float32``.
        gradient: what reaches the full-precision weights. ``straight_through`` (default, the paper's
            runs): all of it. ``truncated``: weights are clamped to [-1, 1] before they are quantized, and
            those outside get none. ``through_scale``: the ends of a bucket get what moving its scale
            would change as well (``complicated`` in the published code).
    """

    bits: Annotated[int, Range(1, 8, (1, 8), smaller="low", name="bits")] = 4
    bucket_size: Annotated[
        int | None, Range(2, 2**20, (32, 1024), doubling=True, smaller="high", name="bucket_size")
    ] = 256
    rounding: str = "nearest"
    scale_dtype: str = "float16"
    gradient: str = "straight_through"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "rounding", ("nearest", "stochastic"))
        check_choice(self, "scale_dtype", SCALE_DTYPES)
        check_choice(self, "gradient", GRADIENTS)

    def build(self, weight: Tensor, name: str = "") -> WeightQuantizer:
        return _Uniform(self)
