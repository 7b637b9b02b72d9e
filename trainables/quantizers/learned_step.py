"""A symmetric grid whose step is learned."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from trainables.part import check_choice
from trainables.quantizers.base import Codes, Quantizer, WeightQuantizer
from trainables.quantizers.kernels.buckets import SCALE_DTYPES
from trainables.ranges import Range

SMALLEST_STEP = 1e-6
"""Where learned steps end: above zero in float16 too."""


class _Round(torch.autograd.Function):
    """``step * round(clip(weight / step))`` with LSQ's gradients (Esser et al. 2020, eq. 3 and 5)."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, step: Tensor, part: LearnedStep) -> Tensor:
        stored = _as_stored(step, part)
        ratio = weight / stored
        level = torch.round(ratio.clamp(part.lowest, part.highest))
        ctx.save_for_backward(ratio, level)
        ctx.part, ctx.shape = part, step.shape
        return stored * level

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        (gradient,) = gradients
        ratio, level = ctx.saved_tensors
        part, shape = ctx.part, ctx.shape
        inside = (ratio > part.lowest) & (ratio < part.highest)
        pull = gradient * torch.where(inside, level - ratio, level)
        sharing = gradient.numel() / max(shape.numel(), 1)  # weights with the same step
        factor = 1.0 / math.sqrt(max(sharing, 1.0) * part.highest)
        total = pull.reshape(shape[0], -1).sum(1).view(shape) if part.per_channel else pull.sum()
        return gradient * inside, factor * total, None


def _as_stored(step: Tensor, part: LearnedStep) -> Tensor:
    """``step`` as the file holds it; it stays above zero."""
    dtype = SCALE_DTYPES[part.scale_dtype]
    return step.detach().to(dtype).float()


class _LearnedStep(WeightQuantizer):
    exact_zero = True
    initialized: Tensor

    def __init__(self, part: LearnedStep, weight: Tensor) -> None:
        super().__init__()
        self.part = part
        channels = (weight.shape[0],) + (1,) * (weight.dim() - 1) if part.per_channel else ()
        self.step = nn.Parameter(torch.ones(channels, device=weight.device))
        self.register_buffer("initialized", torch.tensor(False))

    @torch.no_grad()
    def initialize(self, weight: Tensor) -> None:
        self.step.copy_(self._initial(weight))
        self.initialized.fill_(True)

    def _initial(self, weight: Tensor) -> Tensor:
        """``2 * mean |w| / sqrt(Q_P)``; pruned weights, which are zero, do not count."""
        magnitude = weight.abs()
        if self.part.per_channel:
            magnitude = magnitude.reshape(len(weight), -1)
            total, count = magnitude.sum(1), magnitude.count_nonzero(1)
        else:
            total, count = magnitude.sum(), magnitude.count_nonzero()
        mean = total / count.clamp(min=1)
        return (2 * mean / math.sqrt(self.part.highest)).clamp(min=SMALLEST_STEP).view(self.step.shape)

    def forward(self, weight: Tensor) -> Tensor:
        return _Round.apply(weight, self.step, self.part)

    @torch.no_grad()
    def encode(self, weight: Tensor, shape: tuple[int, ...], keep: Tensor | None) -> Codes:
        part = self.part
        step = _as_stored(self.step if self.initialized else self._initial(weight), part)
        level = torch.round((weight / step).clamp(part.lowest, part.highest))
        channel = weight.numel() // max(weight.shape[0], 1) if part.per_channel else None
        count = self.step.numel() if weight.numel() else 0
        return Codes(
            index=(level - part.lowest).to(torch.uint8).reshape(-1).cpu(),
            shape=shape,
            bits=part.bits,
            bucket_size=channel or None,
            offset=None,
            scale=step.reshape(-1)[:count].to(SCALE_DTYPES[part.scale_dtype]).cpu(),
            zero=-part.lowest,
            keep=keep,
        )

    @torch.no_grad()
    def constrain(self, optimizer: torch.optim.Optimizer) -> None:
        """A step that crossed zero would mirror the grid."""
        self.step.clamp_(min=SMALLEST_STEP)


@dataclass(frozen=True)
class LearnedStep(Quantizer):
    """Learned step size quantization, LSQ (Esser et al., ICLR 2020).

    Levels ``-2^(bits-1) .. 2^(bits-1) - 1`` times a step that is trained with the weights: give its phase
    ``train="all"``. Zero is a level, so pruned weights need no mask. The step's gradient is scaled by
    ``1 / sqrt(n * Q_P)``, with n the number of weights that share the step, so that plain gradient descent
    moves a step about as fast, relative to its size, as it moves weights. Adam divides any such factor out
    again and does the same by another way, see :class:`trainables.optimizers.AdamW`.

    Attributes:
        bits: in [2, 8]; default 4. At one bit only zero and one negative level would be left.
        per_channel: one step per output channel (the first dimension) instead of one per tensor.
        scale_dtype: of the step, as stored and as used: ``float16`` or ``float32`` (default).
    """

    bits: Annotated[int, Range(2, 8, (2, 8), smaller="low", name="symmetric_bits")] = 4
    per_channel: bool = False
    scale_dtype: str = "float32"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "scale_dtype", SCALE_DTYPES)

    @property
    def lowest(self) -> int:
        """``-Q_N``."""
        return -(2 ** (self.bits - 1))

    @property
    def highest(self) -> int:
        """``Q_P``."""
        return 2 ** (self.bits - 1) - 1

    def build(self, weight: Tensor, name: str = "") -> WeightQuantizer:
        return _LearnedStep(self, weight)
