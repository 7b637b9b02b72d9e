"""Even levels around an exact zero, trained straight through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor

from trainables.part import check_choice
from trainables.quantizers.base import Codes, Quantizer, WeightQuantizer
from trainables.quantizers.kernels.buckets import SCALE_DTYPES
from trainables.quantizers.kernels.symmetric import quantize_symmetric, symmetric_codes
from trainables.ranges import Range


class _StraightThrough(torch.autograd.Function):
    """Quantized forward, identity backward."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bits: int, bucket_size: int | None, scale_dtype: str) -> Tensor:
        return quantize_symmetric(weight, bits, bucket_size, scale_dtype=scale_dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        return gradients[0], None, None, None


class _Symmetric(WeightQuantizer):
    exact_zero = True

    def __init__(self, part: Symmetric) -> None:
        super().__init__()
        self.part = part
        self.folds = part.per_channel

    def _bucket(self, weight: Tensor) -> int | None:
        if not self.part.per_channel:
            return self.part.bucket_size
        return max(weight.numel() // max(weight.shape[0], 1), 1)

    def forward(self, weight: Tensor) -> Tensor:
        part = self.part
        return _StraightThrough.apply(weight, part.bits, self._bucket(weight), part.scale_dtype)

    @torch.no_grad()
    def encode(self, weight: Tensor, shape: tuple[int, ...], keep: Tensor | None) -> Codes:
        part, bucket_size = self.part, self._bucket(weight)
        index, step = symmetric_codes(weight.cpu(), part.bits, bucket_size, scale_dtype=part.scale_dtype)
        return Codes(
            index=index.reshape(-1),
            shape=shape,
            bits=part.bits,
            bucket_size=bucket_size,
            offset=None,
            scale=step,
            zero=2 ** (part.bits - 1) - 1,
            keep=keep,
        )


@dataclass(frozen=True)
class Symmetric(Quantizer):
    """``2^bits - 1`` even levels around an exact zero; the usual grid of int8 weights.

    The largest magnitude of each output channel (or bucket) is the outermost level; the gradient passes
    straight through. Pruned weights are levels like others and need no mask. At 2 bits the weights are
    ternary.

    Attributes:
        bits: in [2, 8]; default 8.
        per_channel: one scale per output channel, the first dimension (default). Otherwise per bucket.
        bucket_size: values that share a scale, in [2, 2^20], or None for the whole tensor; only without
            ``per_channel``.
        scale_dtype: of the steps between levels, as stored and as used: ``float16`` (default) or ``float32``.
    """

    bits: Annotated[int, Range(2, 8, (2, 8), smaller="low", name="symmetric_bits")] = 8
    per_channel: bool = True
    bucket_size: Annotated[int | None, Range(2, 2**20, doubling=True, smaller="high")] = None
    scale_dtype: str = "float16"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bucket_size is not None and self.per_channel:
            raise ValueError(f"per_channel takes no bucket_size, got bucket_size={self.bucket_size}")
        check_choice(self, "scale_dtype", SCALE_DTYPES)

    def build(self, weight: Tensor, name: str = "") -> WeightQuantizer:
        return _Symmetric(self)
