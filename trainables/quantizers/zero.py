"""Zero bits: the whole tensor is pruned."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainables.quantizers.base import Codes, Quantizer, WeightQuantizer


class _Zero(WeightQuantizer):
    exact_zero = True
    all_zero = True

    def forward(self, weight: Tensor) -> Tensor:
        return weight * 0.0

    def encode(self, weight: Tensor, shape: tuple[int, ...], keep: Tensor | None) -> Codes:
        return Codes(
            index=torch.zeros(weight.numel(), dtype=torch.uint8),
            shape=shape,
            bits=1,
            bucket_size=None,
            offset=None,
            scale=torch.ones(min(weight.numel(), 1), dtype=torch.float16),
            zero=0,
            keep=keep,
        )


@dataclass(frozen=True)
class Zero(Quantizer):
    """Every weight is zero: the end of the scale of bit widths (AJPQ, 2020).

    A tensor takes some bytes whatever its size; listings show its one level as 1 bit.
    """

    def build(self, weight: Tensor, name: str = "") -> WeightQuantizer:
        return _Zero()
