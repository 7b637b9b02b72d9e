"""Gradual magnitude pruning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from trainables.pruners.base import Mask, Pruner
from trainables.ranges import Range
from trainables.schedules import Cubic, Schedule


class _Magnitude(Mask):
    keep: Tensor
    stage: Tensor

    def __init__(self, part: Magnitude, weight: Tensor) -> None:
        super().__init__()
        self.part = part
        self.register_buffer("keep", torch.ones(weight.shape, dtype=torch.bool, device=weight.device))
        self.register_buffer("stage", torch.tensor(0))

    def update(self, weight: Tensor, gradient: Tensor | None, progress: float) -> None:
        stage = int(progress * self.part.updates)
        if stage <= int(self.stage):
            return
        before = self._sparsity(int(self.stage))
        self.stage.fill_(stage)
        if self._sparsity(stage) > before:  # the ramp is over: the mask is frozen
            self.keep.copy_(largest(weight, self._sparsity(stage)))

    def _sparsity(self, stage: int) -> float:
        if stage == 0:  # whatever the ramp begins with, nothing has been pruned
            return 0.0
        return self.part.sparsity * min(max(self.part.ramp(stage / self.part.updates), 0.0), 1.0)

    def current(self) -> Tensor | None:
        return None if int(self.stage) == 0 else self.keep

    def shipped(self, weight: Tensor) -> Tensor:
        if self._sparsity(int(self.stage)) >= self.part.sparsity:
            return self.keep
        return largest(weight, self.part.sparsity)


def largest(weight: Tensor, sparsity: float) -> Tensor:
    """True at the largest magnitudes: ``round(sparsity * n)`` elements are left out, at least one kept.

    Of equal magnitudes the earlier element (row-major) is kept.
    """
    count = weight.numel()
    kept = max(count - round(sparsity * count), 1)
    order = torch.argsort(weight.detach().abs().reshape(-1), descending=True, stable=True)
    keep = torch.zeros(count, dtype=torch.bool, device=weight.device)
    keep[order[:kept]] = True
    return keep.reshape(weight.shape)


@dataclass(frozen=True)
class Magnitude(Pruner):
    """The smallest weights of each tensor go, a few more at each update (Zhu & Gupta 2017).

    With the default ramp the sparsity at time t is the paper's eq. 1 from an initial sparsity of zero.
    A pruned weight gets no gradient of the loss (weight decay and old momentum still move it): it returns
    only if others shrink below it while the ramp lasts. Every tensor gets the same sparsity.

    Attributes:
        sparsity: final fraction of zeros per tensor, in [0, 0.999].
        ramp: fraction of the final sparsity over the pruning phases' progress.
        updates: how many times the mask is renewed over the pruning phases, at least 1.
    """

    sparsity: Annotated[float, Range(0.0, 0.999, (0.1, 0.95), smaller="high", name="sparsity")] = 0.5
    ramp: Schedule = Cubic(0.0, 1.0, 0.1, 0.6)
    updates: Annotated[int, Range(1, 1_000_000)] = 40

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ramp(1.0) != 1.0:
            raise ValueError(f"ramp must end at 1, got ramp={self.ramp} ending at {self.ramp(1.0)}")

    def build(self, weight: Tensor, name: str = "") -> Mask:
        return _Magnitude(self, weight)
