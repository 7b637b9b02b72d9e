"""Ranges that follow the inputs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Self

import torch
from torch import Tensor

from trainables.activations.base import ActivationQuantizer, Grid, InputQuantizer
from trainables.activations.functional import SUM_BITS, as_stored, clipped_on_grid, grid_between
from trainables.ranges import Range


class _MovingRange(InputQuantizer):
    part: MovingRange

    def __init__(self, part: MovingRange) -> None:
        super().__init__(part.bits)
        self.part = part
        self.register_buffer("range", torch.zeros(2))
        self._seen = 0  # batches of the calibration under way

    @torch.no_grad()
    def begin(self) -> None:
        self.range.zero_()
        self._seen = 0

    def observe(self, x: Tensor) -> None:
        # Divided by 1 - m^t, the mean of few batches does not start at zero; after many this is 1 - m.
        self._seen += 1
        self._move(x, (1 - self.part.momentum) / (1 - self.part.momentum**self._seen))

    def follow(self, x: Tensor) -> None:
        self._move(x, 1 - self.part.momentum)

    @torch.no_grad()
    def _move(self, x: Tensor, share: float) -> None:
        if x.numel():
            ends = torch.stack([x.amin().clamp(max=0.0), x.amax().clamp(min=0.0)]).float()
            self.range.lerp_(ends, share)

    def quantized(self, x: Tensor) -> Tensor:
        return clipped_on_grid(x, self.range, as_stored(self.range), self.bits)

    def grid(self) -> Grid:
        return grid_between(as_stored(self.range), self.bits)


@dataclass(frozen=True)
class MovingRange(ActivationQuantizer):
    """Levels between the moving averages of the batches' least and largest inputs (Jacob et al. 2018).

    The averages start from a calibration, move with every training batch while inputs are quantized, and
    stand still otherwise. Gradients pass straight through inside the range and end outside it. The paper
    starts to quantize late; here that is a phase without and one with ``quantize``. The ranges are not
    frozen before the end: as the learning rate falls, so does what they follow.

    Attributes:
        bits: of an input, in [2, 8]; default 8.
        momentum: what an average keeps per batch, in [0, 0.99999]; default 0.99.
    """

    bits: Annotated[int, Range(2, 8)] = 8
    momentum: Annotated[float, Range(0.0, 0.99999)] = 0.99

    def build(self, name: str = "") -> InputQuantizer:
        return _MovingRange(self)

    def for_sums(self) -> Self:
        return replace(self, bits=SUM_BITS)
