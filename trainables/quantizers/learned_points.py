"""A learned codebook per tensor: differentiable quantization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from trainables.part import check_choice
from trainables.quantizers.base import Codes, Quantizer, WeightQuantizer
from trainables.quantizers.kernels.buckets import SCALE_DTYPES
from trainables.quantizers.kernels.points import decode_points, initial_points, points_codes
from trainables.ranges import Range


class _NearestPoint(torch.autograd.Function):
    """Forward to the nearest point; the gradient of a point is the sum over the weights assigned to it.

    dL/dp_j = sum over a(i) = j of scale_bucket(i) * dL/dQ_i (paper, section 4); weights get theirs
    straight through.
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, points: Tensor, part: LearnedPoints) -> Tensor:
        index, offset, scale = points_codes(weight, points, part.bucket_size, scale_dtype=part.scale_dtype)
        ctx.save_for_backward(index, scale)
        ctx.count, ctx.bucket_size = points.numel(), part.bucket_size
        return decode_points(index, offset, scale, points, part.bucket_size).to(weight.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        (gradient,) = gradients
        index, scale = ctx.saved_tensors
        flat = gradient.reshape(-1).float()
        per_weight = _spread(scale.float(), flat.numel(), ctx.bucket_size)
        # A sum per segment; a weights-by-points distance matrix would be 2^bits times the memory.
        total = torch.zeros(ctx.count, dtype=torch.float32, device=gradient.device)
        total.index_add_(0, index.reshape(-1).long(), flat * per_weight)
        return gradient, total, None


def _spread(scale: Tensor, count: int, bucket_size: int | None) -> Tensor:
    """The scale (buckets,) of each of ``count`` weights."""
    if bucket_size is None or bucket_size >= count:
        return scale.expand(count)
    return scale.repeat_interleave(bucket_size, output_size=len(scale) * bucket_size)[:count]


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
            weight, len(self.points), part.bucket_size, part.initial, scale_dtype=part.scale_dtype
        )

    def forward(self, weight: Tensor) -> Tensor:
        return _NearestPoint.apply(weight, self.points, self.part)

    @torch.no_grad()
    def encode(self, weight: Tensor, shape: tuple[int, ...], keep: Tensor | None) -> Codes:
        part = self.part
        points = (self.points if self.initialized else self._initial(weight)).detach().cpu().float()
        index, offset, scale = points_codes(
            weight.cpu(), points, part.bucket_size, scale_dtype=part.scale_dtype
        )
        return Codes(
            index=index.reshape(-1),
            shape=shape,
            bits=max((len(points) - 1).bit_length(), 1),
            bucket_size=part.bucket_size,
            offset=offset,
            scale=scale,
            codebook=points.clone(),
            keep=None if keep is None else keep.cpu(),
        )

    def shared_levels(self) -> int | None:
        return 2**self.part.bits if self.part.share else None

    def take_levels(self, levels: int) -> None:
        self.points.data = torch.linspace(0.0, 1.0, levels, device=self.points.device)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """A checkpoint's number of points holds, because gradients shared them out when it was made."""
        stored = state_dict.get(f"{prefix}points")
        if self.part.share and stored is not None and stored.dim() == 1 and 2 <= len(stored) <= 256:
            self.take_levels(len(stored))
        super()._load_from_state_dict(state_dict, prefix, *rest)

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

    One ascending vector of ``2^bits`` points per tensor in the scaled domain, used by all its buckets.

    Attributes:
        bits: in [1, 8]; default 4.
        bucket_size: values that share a scale and an offset, in [2, 2^20], or None; default 256.
        initial: where points start: ``quantile`` (default), ``uniform``, ``kmeans`` from even points until
            nothing moves (Deep Compression, Han et al. 2016), or ``kmeans_published``, which stops where
            scikit-learn's default tolerance has the published code stop.
        scale_dtype: of scales and offsets, as stored and as used: ``float16`` (default) or ``float32``.
        share: when training of the points begins, tensors share all their points out anew by the size of
            their gradients, at the same total of bits (the paper's "redistribution of bits"; see
            :mod:`trainables.quantizers.sharing`). Until then each has its own ``2^bits``.
    """

    bits: Annotated[int, Range(1, 8, (1, 8), smaller="low", name="bits")] = 4
    bucket_size: Annotated[
        int | None, Range(2, 2**20, (32, 1024), doubling=True, smaller="high", name="bucket_size")
    ] = 256
    initial: str = "quantile"
    scale_dtype: str = "float16"
    share: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "initial", ("quantile", "uniform", "kmeans", "kmeans_published"))
        check_choice(self, "scale_dtype", SCALE_DTYPES)

    def build(self, weight: Tensor, name: str = "") -> WeightQuantizer:
        return _LearnedPoints(self, weight)
