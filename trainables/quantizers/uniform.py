"""Evenly spaced levels per bucket, trained straight through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainables.part import check_choice, check_range
from trainables.quantizers.base import Codes, Quantizer, WeightQuantizer
from trainables.quantizers.functional import SCALE_DTYPES, quantize_uniform, scale_buckets, uniform_index


class _StraightThrough(torch.autograd.Function):
    """Quantized forward, identity backward; returns the quantized values bit for bit."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, part: Uniform, rounding: str) -> Tensor:
        return quantize_uniform(
            weight, part.bits, part.bucket_size, rounding=rounding, scale_dtype=part.scale_dtype
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return gradients[0], None, None


class _Uniform(WeightQuantizer):
    def __init__(self, part: Uniform) -> None:
        super().__init__()
        self.part = part

    def forward(self, weight: Tensor) -> Tensor:
        return _StraightThrough.apply(weight, self.part, self.part.rounding if self.training else "nearest")

    def encode(self, weight: Tensor, shape: tuple[int, ...], keep: Tensor | None) -> Codes:
        part = self.part
        buckets = scale_buckets(weight.detach().cpu(), part.bucket_size, part.scale_dtype)
        index = uniform_index(buckets.unit, part.bits).to(torch.uint8).reshape(-1)[: weight.numel()]
        dtype = SCALE_DTYPES[part.scale_dtype]
        return Codes(
            index=index,
            shape=shape,
            bits=part.bits,
            bucket_size=part.bucket_size,
            offset=buckets.offset.reshape(-1).to(dtype),
            scale=buckets.scale.reshape(-1).to(dtype),
            keep=None if keep is None else keep.cpu(),
        )


@dataclass(frozen=True)
class Uniform(Quantizer):
    """The projection of quantized distillation (Polino et al. 2018, sections 2.1 and 3).

    ``2^bits`` evenly spaced levels between the smallest and the largest value of each bucket; the
    gradient passes straight through. Whether it acts in training is the phase's business: never
    switched on before the end, it is post-training quantization.

    Attributes:
        bits: in [1, 8]; default 4.
        bucket_size: values that share a scale and an offset, in [2, 2^20], or None for the whole
            tensor; default 256.
        rounding: in training, ``nearest`` or ``stochastic``; the shipped weights are always nearest.
        scale_dtype: of scales and offsets, as stored and as used: ``float16`` or ``float32``.
    """

    bits: int = 4
    bucket_size: int | None = 256
    rounding: str = "nearest"
    scale_dtype: str = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "bits", 1, 8)
        if self.bucket_size is not None:
            check_range(self, "bucket_size", 2, 2**20)
        check_choice(self, "rounding", ("nearest", "stochastic"))
        check_choice(self, "scale_dtype", SCALE_DTYPES)

    def build(self, weight: Tensor, name: str = "") -> WeightQuantizer:
        return _Uniform(self)
