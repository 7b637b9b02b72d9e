"""Similarity-preserving distillation: samples that are alike for the teacher are alike for the student."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn

from trainables.layers import LAST_STAGE
from trainables.lesson import Lesson, Step
from trainables.losses.base import Loss, full_precision
from trainables.probe import Probe
from trainables.ranges import Range
from trainables.schedules import Constant, Schedule


def similarities(features: Tensor) -> Tensor:
    """The Gram matrix of a batch of features, shape (n, n), each row divided by its norm."""
    flat = features.flatten(1)
    return F.normalize(flat @ flat.t())


def similarity(ours: Tensor, theirs: Tensor) -> Tensor:
    """The squared difference of two matrices of similarities, added over pairs, over the batch squared."""
    return (similarities(ours) - similarities(theirs)).pow(2).sum() / len(ours) ** 2


class _Similarity(nn.Module):
    def __init__(self, part: Similarity, probe: Probe) -> None:
        super().__init__()
        self.probe = probe
        (self.theirs,) = probe.teacher.find(part.teacher_layer or LAST_STAGE)
        (self.ours,) = probe.student.find(part.student_layer or LAST_STAGE)
        probe.teacher.watch(self.theirs)
        probe.student.watch(self.ours)

    def forward(self, step: Step, lesson: Lesson) -> Tensor:
        ours, theirs = self.probe.student[self.ours], self.probe.teacher[self.theirs]
        with full_precision(ours):
            return similarity(ours.float(), theirs.detach().float())


@dataclass(frozen=True)
class Similarity(Loss):
    """The difference of how alike the samples of a batch are for the student and for the teacher.

    Tung & Mori 2019, equations 2 to 4. The two networks' features may be of any shapes.

    Attributes:
        student_layer: name of a module, whose output is compared; None (default) are the last maps of more
            than one position, or the penultimate features of a network without maps.
        teacher_layer: likewise, of the teacher.
        weight: multiplier of the term over training, in [0, 1,000,000] throughout; default 3000, that of the
            published scripts of CRD's comparison (Tian et al. 2020).
    """

    student_layer: str | None = None
    teacher_layer: str | None = None
    weight: Annotated[Schedule, Range(0.0, 1e6, (100.0, 10_000.0), log=True, name="similarity_weight")] = (
        Constant(3000.0)
    )

    def build(self, probe: Probe) -> nn.Module:
        """See the contract."""
        return _Similarity(self, probe)

    def looks_at(self) -> tuple[str, ...]:
        """The last maps, or the layer that is named."""
        return (self.teacher_layer or LAST_STAGE,)

    def check_temperature(self, only: float | None) -> None:
        """None is asked for."""
