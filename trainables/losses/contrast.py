"""Noise-contrastive estimation of whose features are whose, with memories of all samples."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.losses.negatives import Contrasted

OFFSET = 1e-7
"""Added to probabilities, as published."""


class _Estimation(torch.autograd.Function):
    """Noise-contrastive estimation from likenesses, shape (n, 1 + negatives), the sample's own first.

    Noise is uniform over all samples. These are two million numbers at a step, so the backward pass is
    written out: the derivative of ``log(P + c)`` by the likeness is ``P / (P + c)``.
    """

    @staticmethod
    def forward(ctx: Any, likeness: Tensor, scale: Tensor, rows: int) -> Tensor:
        negatives = likeness.shape[1] - 1
        noise = negatives / rows
        scores = likeness.exp().div_(scale)
        ctx.save_for_backward(scores)
        ctx.offset = noise + OFFSET
        right = scores[:, 0].log().sum() + negatives * len(scores) * math.log(noise)
        return ((scores + ctx.offset).log_().sum() - right) / len(scores)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = gradients
        (scores,) = ctx.saved_tensors
        found = scores / (scores + ctx.offset)
        found[:, 0] -= 1
        return found.mul_(gradient / len(scores)), None, None


class Contrast(nn.Module):
    """Two projections, and two memories of all samples: what is projected finds its sample in the other's.

    Args:
        sizes: of the student's and of the teacher's features.
        rows: how many samples are remembered.
        size: of what they are projected to.
        temperature: that products are divided by.
        momentum: share that a memory keeps of itself when its sample comes.

    Attributes:
        projections: of the student's and of the teacher's features.
        memories: of the student's and of the teacher's, shape (2, rows, size).
        scales: Z of the student's and of the teacher's scores; 0 until the first batch has set it.
    """

    def __init__(
        self, sizes: tuple[int, int], rows: int, size: int, temperature: float, momentum: float
    ) -> None:
        super().__init__()
        self._temperature, self._momentum = temperature, momentum
        self.projections = nn.ModuleList(nn.Linear(each, size) for each in sizes)
        bound = (size / 3) ** -0.5
        self.register_buffer("memories", torch.empty(2, rows, size).uniform_(-bound, bound))
        self.register_buffer("scales", torch.zeros(2))
        self.memories: Tensor
        self.scales: Tensor

    def forward(self, ours: Tensor, theirs: Tensor, numbers: Tensor, contrasted: Contrasted) -> Tensor:
        """The loss of a batch, averaged over its samples; afterwards the memories have moved toward it.

        Args:
            ours: the student's features, shape (n, size).
            theirs: the teacher's.
            numbers: of the samples, shape (n,).
            contrasted: what each is compared with, itself first.
        """
        embedded = [
            F.normalize(project(each)) for project, each in zip(self.projections, (ours, theirs), strict=True)
        ]
        # The student is compared with what the teacher said of the samples, and the reverse.
        losses = [self._loss(embedded[side], 1 - side, contrasted) for side in (0, 1)]
        self._remember(embedded, numbers)
        return losses[0] + losses[1]

    def _loss(self, anchors: Tensor, side: int, contrasted: Contrasted) -> Tensor:
        """Of the anchors of one side against the memory of the other, ``side``."""
        products = anchors @ self.memories[side].index_select(0, contrasted.rows).t()
        likeness = products.gather(1, contrasted.places).div_(self._temperature)
        with torch.no_grad():
            own = self.scales[1 - side]
            if not bool(own):
                own.copy_(likeness.exp().mean() * self.memories.shape[1])
        return _Estimation.apply(likeness, own.clone(), self.memories.shape[1])

    @torch.no_grad()
    def _remember(self, embedded: list[Tensor], numbers: Tensor) -> None:
        kept = self._momentum
        for memory, each in zip(self.memories, embedded, strict=True):
            moved = kept * memory.index_select(0, numbers) + (1 - kept) * each
            memory.index_copy_(0, numbers, F.normalize(moved))
