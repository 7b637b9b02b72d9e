"""Ranges that are learned."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Self

import torch
from torch import Tensor, nn

from trainables.activations.base import ActivationQuantizer, Grid, InputQuantizer
from trainables.activations.functional import SUM_BITS, as_stored, clipped_on_grid, grid_between
from trainables.ranges import Range

SMALLEST_CLIP = 2.0**-10


class _LearnedClip(InputQuantizer):
    part: LearnedClip
    range: nn.Parameter

    def __init__(self, part: LearnedClip) -> None:
        super().__init__(part.bits)
        self.part = part
        self.range = nn.Parameter(torch.zeros(2))
        self._seen = 0  # batches of the calibration under way

    @torch.no_grad()
    def begin(self) -> None:
        self.range.zero_()
        self._seen = 0

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        if not x.numel():
            return
        self._seen += 1
        ends = torch.stack([x.amin().clamp(max=0.0), x.amax().clamp(min=0.0)]).float()
        if self.part.initial is None:
            self.range.lerp_(ends, 1 / self._seen)
        else:
            low = -self.part.initial if bool(ends[0] < 0) else float(self.range[0])
            self.range.copy_(torch.tensor([low, self.part.initial]))

    def _used(self) -> Tensor:
        # An upper end that reached zero would let nothing pass that could raise it again.
        return as_stored(torch.stack([self.range[0].clamp(max=0.0), self.range[1].clamp(min=SMALLEST_CLIP)]))

    def quantized(self, x: Tensor) -> Tensor:
        return clipped_on_grid(x, self.range, self._used(), self.bits)

    def grid(self) -> Grid:
        return grid_between(self._used(), self.bits)

    def penalty(self) -> Tensor:
        return self.part.decay * self.range.square().sum()


@dataclass(frozen=True)
class LearnedClip(ActivationQuantizer):
    """Inputs clipped where training says (PACT, Choi et al. 2018).

    The upper end ``alpha`` is trained with the weights: an input at or above it passes its gradient to
    ``alpha``, one in ``[0, alpha)`` keeps it. The paper's inputs all come out of ReLU. Here the lower end is
    learned in the same way, which for such inputs is the paper's method to the letter: nothing lies below
    zero, so that end stays there. A layer that is given negative values (the first one, or one behind a
    normalisation) gets both.

    Attributes:
        bits: of an input, in [2, 8]; default 4.
        initial: the magnitude ends start at, in (0, 1000]; the lower only where negative inputs are seen.
            None (default) starts at the mean of the calibration batches' extremes; the paper starts above
            them (10) and lets the penalty work.
        decay: of the penalty ``decay * alpha^2``, at least 0; default 2e-4, the paper's for its weights.
    """

    bits: Annotated[int, Range(2, 8, (2, 8), name="activation_bits")] = 4
    initial: Annotated[float | None, Range(0, 1000, excluded="low", log=True)] = None
    decay: Annotated[float, Range(0.0, 1.0)] = 2e-4

    def build(self, name: str = "") -> InputQuantizer:
        return _LearnedClip(self)

    def for_sums(self) -> Self:
        return replace(self, bits=SUM_BITS)
