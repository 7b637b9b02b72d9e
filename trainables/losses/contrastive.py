"""Contrastive representation distillation: a student's features tell its sample from all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor, nn

from trainables.layers import PENULTIMATE
from trainables.lesson import Lesson, Step
from trainables.losses.base import Loss, full_precision
from trainables.losses.contrast import Contrast
from trainables.losses.negatives import Negatives
from trainables.part import check_choice
from trainables.probe import Inner, Probe
from trainables.ranges import Range
from trainables.schedules import Constant, Schedule

NEGATIVES = ("other classes", "other samples")


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
        self.contrast = Contrast((our_size, their_size), rows, part.size, part.temperature, part.momentum)

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
