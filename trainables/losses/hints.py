"""Hints: an inner layer of the student comes near one of the teacher's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn

from trainables.layers import MIDDLE, nearest_map
from trainables.lesson import Lesson, Step
from trainables.losses.base import Loss
from trainables.probe import Probe
from trainables.ranges import Range
from trainables.schedules import Constant, Schedule


def hint(ours: Tensor, theirs: Tensor) -> Tensor:
    """The mean squared error over all elements of two features of one shape.

    Raises:
        ValueError: their shapes differ.
    """
    if ours.shape != theirs.shape:
        raise ValueError(
            f"hints need features of one shape, got {tuple(ours.shape)} and {tuple(theirs.shape)}"
        )
    return F.mse_loss(ours, theirs)


class _Hints(nn.Module):
    def __init__(self, part: Hints, probe: Probe) -> None:
        super().__init__()
        self.probe = probe
        (self.theirs,) = probe.teacher.find(part.teacher_layer or MIDDLE)
        wanted = probe.teacher.watch(self.theirs)
        if part.student_layer is not None:
            self.ours = part.student_layer
        elif len(wanted) == 3:
            self.ours = nearest_map(probe.student.layers(), wanted[1] * wanted[2])
        else:
            (self.ours,) = probe.student.find(MIDDLE)
        given = probe.student.watch(self.ours)
        if len(wanted) == 1:  # remembered sequences are kept position by position
            given = given[-1:]
        if (
            len(given) != len(wanted)
            or len(given) not in (1, 2, 3)
            or (len(given) == 2 and given[0] != wanted[0])
        ):
            raise ValueError(
                f"the student's {self.ours} of shape {given} cannot be compared with the teacher's "
                f"{self.theirs} of shape {wanted}: name layers of the same kind and length by student_layer "
                "and teacher_layer"
            )
        self.maps = len(wanted) == 3
        self.regressor: nn.Module = (
            nn.Conv2d(given[0], wanted[0], 1) if self.maps else nn.Linear(given[-1], wanted[-1])
        )

    def forward(self, step: Step, lesson: Lesson) -> Tensor:
        ours, theirs = self.probe.student[self.ours], self.probe.teacher[self.theirs].detach()
        if self.maps:
            size = min(ours.shape[2], theirs.shape[2]), min(ours.shape[3], theirs.shape[3])
            ours, theirs = (F.adaptive_avg_pool2d(each, size) for each in (ours, theirs))
        else:
            ours, theirs = step.batch.features(ours), step.batch.features(theirs)
        guess = self.regressor(ours)
        return hint(guess.float(), theirs.float())


@dataclass(frozen=True)
class Hints(Loss):
    """The mean squared error between the teacher's middle layer and what a regressor makes of the student's.

    FitNets (Romero et al. 2015): the teacher's layer is the hint, the student's is guided. The paper trains
    the guided part in a stage of its own, before distillation; here, as in the published code of CRD's
    comparison (Tian et al. 2020), the term is one of the loss throughout. The regressor is ours: one 1x1
    convolution with a bias on maps, a linear layer on vectors, without a normalisation or an activation after
    it; where maps differ in size the larger are average-pooled first. It is trained with the student and
    does not ship.

    Of sequences that are answered token by token, hidden states are compared token by token, without padding.

    Attributes:
        student_layer: name of the module whose output is guided; None (default) is the end of the stage whose
            maps are nearest in size to the teacher's, or the middle layer of a network without maps.
        teacher_layer: name of the module whose output is the hint; None (default) is the end of the middle
            stage, or the middle layer of a network without maps.
        weight: multiplier of the term over training, in [0, 100,000] throughout; default 100, that of the
            published scripts of CRD's comparison.
    """

    student_layer: str | None = None
    teacher_layer: str | None = None
    weight: Annotated[Schedule, Range(0.0, 100_000.0, (1.0, 1000.0), log=True, name="hint_weight")] = (
        Constant(100.0)
    )

    def build(self, probe: Probe) -> nn.Module:
        """See the contract."""
        return _Hints(self, probe)

    def looks_at(self) -> tuple[str, ...]:
        """The hint."""
        return (self.teacher_layer or MIDDLE,)

    def check_temperature(self, only: float | None) -> None:
        """None is asked for."""
