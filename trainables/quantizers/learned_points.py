"""A learned codebook per tensor: differentiable quantization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainables.part import check_choice, check_range
from trainables.quantizers.base import Codes, Quantizer, WeightQuantizer
from trainables.quantizers.functional import (
    SCALE_DTYPES,
    initial_points,
    nearest_point,
    scale_buckets,
)


class _NearestPoint(torch.autograd.Function):
    """Forward to the nearest point; the gradient of a point is the sum over the weights assigned to it.

    dL/dp_j = sum over a(i) = j of scale_bucket(i) * dL/dQ_i (paper, section 4); weights get theirs
    straight through.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, points: Tensor, part: LearnedPoints) -> Tensor:
        buckets = scale_buckets(weight, part.bucket_size, part.scale_dtype)
        index = nearest_point(buckets.unit, points)
        ctx.save_for_backward(index, buckets.scale)
        ctx.count = points.numel()
        values = buckets.scale * points[index] + buckets.offset
        return values.reshape(-1)[: weight.numel()].to(weight.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        (gradient,) = gradients
        index, scale = ctx.saved_tensors
        padded = torch.zeros(index.numel(), dtype=torch.float32, device=gradient.device)
        padded[: gradient.numel()] = gradient.reshape(-1)
        pulled = (padded.view(index.shape) * scale).reshape(-1)
        # A sum per segment; a weights-by-points distance matrix would be 2^bits times the memory.
        total = torch.zeros(ctx.count, dtype=torch.float32, device=gradient.device)
        total.index_add_(0, index.reshape(-1), pulled)
        return gradient, total, None


class _LearnedPoints(WeightQuantizer):
    initialized: Tensor

    def __init__(self, part: LearnedPoints, weight: Tensor) -> None:
        super().__init__()
        self.part = part
        self.points = nn.Parameter(torch.linspace(0.0, 1.0, 2**part.bits, device=weight.device))
        self.register_buffer("initialized", torch.tensor(False))

    @torch.no_grad()
    def initialize(self, weight: Tensor) -> None:
        self.points.copy_(self._initial(weight))
        self.initialized.fill_(True)

    def _initial(self, weight: Tensor) -> Tensor:
        part = self.part
        return initial_points(
            weight, 2**part.bits, part.bucket_size, part.initial, scale_dtype=part.scale_dtype
        )

    def forward(self, weight: Tensor) -> Tensor:
        return _NearestPoint.apply(weight, self.points, self.part)

    @torch.no_grad()
    def encode(self, weight: Tensor, shape: tuple[int, ...], keep: Tensor | None) -> Codes:
        part = self.part
        points = (self.points if self.initialized else self._initial(weight)).detach()
        buckets = scale_buckets(weight, part.bucket_size, part.scale_dtype)
        index = nearest_point(buckets.unit, points).reshape(-1)[: weight.numel()]
        dtype = SCALE_DTYPES[part.scale_dtype]
        return Codes(
            index=index.to(torch.uint8).cpu(),
            shape=shape,
            bits=part.bits,
            bucket_size=part.bucket_size,
            offset=buckets.offset.reshape(-1).to(dtype).cpu(),
            scale=buckets.scale.reshape(-1).to(dtype).cpu(),
            codebook=points.float().cpu().clone(),
            keep=None if keep is None else keep.cpu(),
        )

    @torch.no_grad()
    def constrain(self, optimizer: torch.optim.Optimizer) -> None:
        """Sort the points, and their momentum with them (the published code left the momentum behind)."""
        order = torch.argsort(self.points, stable=True)
        self.points.copy_(self.points[order])
        for value in optimizer.state.get(self.points, {}).values():
            if isinstance(value, Tensor) and value.shape == self.points.shape:
                value.copy_(value[order])


@dataclass(frozen=True)
class LearnedPoints(Quantizer):
    """Differentiable quantization: the levels are learned, the weights stand still (paper, section 4).

    One ascending vector of ``2^bits`` points per tensor in the scaled domain, shared by its buckets.

    Attributes:
        bits: in [1, 8]; default 4.
        bucket_size: values that share a scale and an offset, in [2, 2^20], or None; default 256.
        initial: ``quantile`` (default) or ``uniform``.
        scale_dtype: of scales and offsets, as stored and as used: ``float16`` or ``float32``.
    """

    bits: int = 4
    bucket_size: int | None = 256
    initial: str = "quantile"
    scale_dtype: str = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "bits", 1, 8)
        if self.bucket_size is not None:
            check_range(self, "bucket_size", 2, 2**20)
        check_choice(self, "initial", ("quantile", "uniform"))
        check_choice(self, "scale_dtype", SCALE_DTYPES)

    def build(self, weight: Tensor, name: str = "") -> WeightQuantizer:
        return _LearnedPoints(self, weight)
