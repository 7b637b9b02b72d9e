"""Contrastive representation distillation: a student's features tell its sample from all others."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.layers import PENULTIMATE
from trainables.lesson import Lesson, Step
from trainables.losses.base import Loss, full_precision
from trainables.losses.negatives import Contrasted, Negatives
from trainables.part import check_choice
from trainables.probe import Inner, Probe
from trainables.ranges import Range
from trainables.schedules import Constant, Schedule

OFFSET = 1e-7
"""Added to probabilities, as published."""

NEGATIVES = ("other classes", "other samples")


class _Estimation(torch.autograd.Function):
    """Noise-contrastive estimation from likenesses, shape (n, 1 + negatives), the sample's own first.

    Noise is uniform over all samples. These are two million numbers at a step, so the backward pass is written
    out: the derivative of ``log(P + c)`` by the likeness is ``P / (P + c)``.
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
        part: says the rest.

    Attributes:
        projections: of the student's and of the teacher's features, to ``part.size`` numbers.
        memories: of the student's and of the teacher's, shape (2, rows, size).
        scales: Z of the student's and of the teacher's scores; 0 until the first batch has set it.
    """

    def __init__(self, sizes: tuple[int, int], rows: int, part: Contrastive) -> None:
        super().__init__()
        self._part = part
        self.projections = nn.ModuleList(nn.Linear(size, part.size) for size in sizes)
        bound = (part.size / 3) ** -0.5
        self.register_buffer("memories", torch.empty(2, rows, part.size).uniform_(-bound, bound))
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
        likeness = products.gather(1, contrasted.places).div_(self._part.temperature)
        with torch.no_grad():
            own = self.scales[1 - side]
            if not bool(own):
                own.copy_(likeness.exp().mean() * self.memories.shape[1])
        return _Estimation.apply(likeness, own.clone(), self.memories.shape[1])

    @torch.no_grad()
    def _remember(self, embedded: list[Tensor], numbers: Tensor) -> None:
        kept = self._part.momentum
        for memory, each in zip(self.memories, embedded, strict=True):
            moved = kept * memory.index_select(0, numbers) + (1 - kept) * each
            memory.index_copy_(0, numbers, F.normalize(moved))


class _Contrastive(nn.Module):
    def __init__(self, part: Contrastive, probe: Probe) -> None:
        super().__init__()
        self.probe = probe
        rows, labels = probe.seen.rows("train"), probe.seen.labels("train")
        if part.contrast_with == NEGATIVES[0] and labels is None:
            raise ValueError(
                f"the classes of samples are not known before they are read, got contrast_with="
                f"{part.contrast_with!r}; use {NEGATIVES[1]!r}"
            )
        self.negatives = Negatives(
            part.negatives, rows, None if part.contrast_with == NEGATIVES[1] else labels
        )
        self.ours, our_size = _watched(probe.student, part.student_layer)
        self.theirs, their_size = _watched(probe.teacher, part.teacher_layer)
        self.contrast = Contrast((our_size, their_size), rows, part)

    def forward(self, step: Step, lesson: Lesson) -> Tensor:
        numbers = self.probe.seen.row_numbers(step.batch)
        ours, theirs = _vectors(self.probe.student[self.ours]), _vectors(self.probe.teacher[self.theirs])
        with full_precision(ours):
            contrasted = self.negatives.draw(numbers)
            loss: Tensor = self.contrast(ours.float(), theirs.detach().float(), numbers, contrasted)
        return loss


def _watched(network: Inner, layer: str | None) -> tuple[str, int]:
    """The name of the layer that is watched from now on, and the size of its features."""
    (name,) = network.find(layer or PENULTIMATE)
    return name, network.watch(name)[0]


def _vectors(features: Tensor) -> Tensor:
    """Shape (n, size): of maps the mean over their positions."""
    return features.flatten(2).mean(2) if features.dim() > 2 else features


@dataclass(frozen=True)
class Contrastive(Loss):
    """Each sample's features, projected, are told from those of other samples that a memory holds.

    Contrastive representation distillation (Tian et al. 2020). Both networks' features go through a linear
    layer each and are divided by their norm; the student's are compared with the teacher's memory and the
    reverse. With K negatives of n samples, ``P = exp(a . m / temperature) / Z`` and ``c = K / n``, the term
    is ``-log(P / (P + c + 1e-7))`` of the sample itself plus ``-log(c / (P + c + 1e-7))`` of each negative,
    added over negatives and both directions, averaged over the batch. Z is n times the mean score of the
    first batch and constant from then on. Memories move after they were read:
    ``m <- momentum * m + (1 - momentum) * f``, divided by its norm. Projections and memories do not ship.

    How negatives are drawn is ours, see :class:`trainables.losses.negatives.Negatives`.

    Attributes:
        student_layer: name of a module, whose output is projected (of maps, the mean over positions); None
            (default) is the input of the last layer with weights.
        teacher_layer: likewise, of the teacher.
        size: of projections, in [1, 4096]; default 128.
        negatives: K, in [1, 1,000,000]; default 16,384. Where the data have fewer that may be, all of them.
        contrast_with: ``other classes``, the default of the published script, or ``other samples``; None
            (default) is the first where the class of every training sample is known, else the second.
        temperature: that products are divided by, in [0.001, 100]; default 0.07.
        momentum: in [0, 1); default 0.5.
        weight: multiplier of the term over training, in [0, 1000] throughout; default 0.8, as published.
    """

    student_layer: str | None = None
    teacher_layer: str | None = None
    size: Annotated[int, Range(1, 4096)] = 128
    negatives: Annotated[int, Range(1, 1_000_000)] = 16_384
    contrast_with: str | None = None
    temperature: Annotated[float, Range(0.001, 100.0)] = 0.07
    momentum: Annotated[float, Range(0.0, 1.0, excluded="high")] = 0.5
    weight: Annotated[Schedule, Range(0.0, 1000.0, (0.1, 5.0), log=True, name="contrast_weight")] = Constant(
        0.8
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "contrast_with", (None, *NEGATIVES))

    def build(self, probe: Probe) -> nn.Module:
        """See the contract."""
        return _Contrastive(self, probe)

    def looks_at(self) -> tuple[str, ...]:
        """The penultimate features, or the layer that is named."""
        return (self.teacher_layer or PENULTIMATE,)

    def check_temperature(self, only: float | None) -> None:
        """None is asked for: answers are not looked at."""
