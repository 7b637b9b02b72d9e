"""Targeted dropout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from trainables.part import check_choice
from trainables.pruners.base import Mask, Pruner
from trainables.ranges import Range

TARGETS = ("weights", "units", "whole_units")


class _TargetedDropout(Mask):
    keep: Tensor
    drawn: Tensor
    begun: Tensor
    over: Tensor

    def __init__(self, part: TargetedDropout, weight: Tensor) -> None:
        super().__init__()
        self.part = part
        everything = torch.ones(weight.shape, dtype=torch.bool, device=weight.device)
        self.register_buffer("keep", everything)
        self.register_buffer("drawn", everything.clone())
        self.register_buffer("begun", torch.tensor(False))
        self.register_buffer("over", torch.tensor(False))

    @torch.no_grad()
    def update(self, weight: Tensor, gradient: Tensor | None, progress: float) -> None:
        """Draw what the next step drops: one draw per step, whatever else runs the network in between."""
        share, rate = self.part.at(progress)
        chosen = candidates(weight, share, self.part.target)
        self.keep.copy_(~chosen)
        self.begun.fill_(True)
        if progress >= 1.0:
            self.over.fill_(True)
        elif rate and share:  # without, no number is drawn: training goes on as if nothing were dropped
            self.drawn.copy_(~dropped(chosen, _draw(weight, self.part.target), rate, self.part.target))

    def current(self) -> Tensor | None:
        if not bool(self.begun):
            return None
        return self.drawn if self.training and not bool(self.over) else self.keep

    def shipped(self, weight: Tensor) -> Tensor:
        return self.keep if bool(self.over) else ~candidates(weight, self.part.sparsity, self.part.target)


def candidates(weight: Tensor, share: float, target: str) -> Tensor:
    """The weights that may be dropped: bool, of the shape of ``weight``, (units, ...).

    Of each unit (a row) those whose magnitude is below that of number ``floor(share * n)`` of its ``n``, in
    ascending order from 0; of ``units`` all weights of those whose norm is below. As in the published code
    the product is taken in float32, ``share`` being in [0, 1), and what equals the threshold stays.
    """
    rows = weight.detach().flatten(1)
    ranked = rows.abs() if target == "weights" else rows.square().sum(1).sqrt()
    place = int(torch.tensor(share, dtype=torch.float32) * ranked.shape[-1])
    threshold = ranked.kthvalue(place + 1, dim=-1, keepdim=True).values
    chosen = ranked < threshold
    return (chosen if target == "weights" else chosen[:, None].expand_as(rows)).reshape(weight.shape)


def dropped(chosen: Tensor, draw: Tensor, rate: float, target: str) -> Tensor:
    """Which of the ``chosen`` a step drops, each with probability ``rate``: bool, of the weight's shape.

    ``draw`` is uniform in [0, 1): a number per weight, or one per unit of ``whole_units``. The published code
    compares the draws of weights and of units with opposite ends.
    """
    return chosen & (draw < rate if target == "weights" else draw > 1 - rate)


def _draw(weight: Tensor, target: str) -> Tensor:
    shape = weight.shape if target != "whole_units" else (len(weight), *[1] * (weight.dim() - 1))
    return torch.rand(shape, device=weight.device)


@dataclass(frozen=True)
class TargetedDropout(Pruner):
    """The smallest weights of each unit are dropped at random in every step, and all of them at the end.

    Gomez et al. 2019: training learns to do without the weights that pruning will take. In each step of a
    pruning phase each candidate is zero with probability ``rate``; the others are not rescaled. What ships
    has no candidates at all, and neither has the network once the pruning phases are over, or whenever it
    runs in eval mode meanwhile. A unit is what the first dimension of a weight counts. The first step of all
    drops nothing.

    Attributes:
        sparsity: the paper's gamma: share of a unit's weights, or of a tensor's units, that are candidates,
            in [0, 0.999]; default 0.5.
        rate: the paper's alpha: probability that a candidate is dropped, in [0, 1]; default 0.5.
        target: ``weights`` (default); ``units``, the published code's: candidates are all weights of the
            units of least norm, drawn weight by weight; ``whole_units``, the paper's: a unit drops as one.
        ramp: over which share of the pruning phases both grow, in [0, 1]; 0 (default) has them as they are
            from the start. The published ramp: ``rate`` grows in a straight line, ``sparsity`` to 95 % of
            itself in the first half of it, and to all of it in the second.
    """

    sparsity: Annotated[float, Range(0.0, 0.999, (0.1, 0.95), smaller="high", name="sparsity")] = 0.5
    rate: Annotated[float, Range(0.0, 1.0, (0.3, 0.99), name="drop_rate")] = 0.5
    target: str = "weights"
    ramp: Annotated[float, Range(0.0, 1.0)] = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "target", TARGETS)

    def at(self, progress: float) -> tuple[float, float]:
        """Share of candidates and probability in force at ``progress`` in [0, 1]."""
        time = 1.0 if self.ramp == 0 else min(progress / self.ramp, 1.0)
        share = 0.95 * min(2 * time, 1.0) + 0.05 * max(2 * time - 1, 0.0)
        return (self.sparsity * share if time < 1 else self.sparsity), self.rate * time

    def build(self, weight: Tensor, name: str = "") -> Mask:
        return _TargetedDropout(self, weight)
