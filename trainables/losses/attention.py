"""Attention transfer: where the student looks is where the teacher looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.layers import STAGES
from trainables.lesson import Lesson, Step
from trainables.losses.base import Loss
from trainables.losses.maps import matched
from trainables.probe import Probe
from trainables.ranges import Range
from trainables.schedules import Constant, Schedule


def attention(maps: Tensor, power: int) -> Tensor:
    """Per sample the mean over channels of the maps to the power of ``power``, flat, of Euclidean norm 1.

    Args:
        maps: shape (n, channels, height, width).
        power: of odd ones, the sign counts.
    """
    return F.normalize(maps.pow(power).mean(1).flatten(1))


def attention_transfer(ours: Tensor, theirs: Tensor, power: int) -> Tensor:
    """The mean squared difference of two attention maps, over samples and positions.

    Args:
        ours: the student's maps, shape (n, channels, height, width).
        theirs: the teacher's, of any channels; the larger maps are average-pooled first.
        power: see :func:`attention`.
    """
    size = min(ours.shape[2], theirs.shape[2]), min(ours.shape[3], theirs.shape[3])
    ours, theirs = (
        each if each.shape[2:] == size else F.adaptive_avg_pool2d(each, size) for each in (ours, theirs)
    )
    return (attention(ours, power) - attention(theirs, power)).pow(2).mean()


class _Attention(nn.Module):
    def __init__(self, part: AttentionMaps, probe: Probe) -> None:
        super().__init__()
        self.probe, self.power = probe, part.power
        self.pairs = matched(probe, part.student_layers, part.teacher_layers)

    def forward(self, step: Step, lesson: Lesson) -> Tensor:
        total = step.logits.new_zeros((), dtype=torch.float32)
        for ours, theirs in self.pairs:
            maps = self.probe.student[ours].float(), self.probe.teacher[theirs].detach().float()
            total = total + attention_transfer(*maps, self.power)
        return total


@dataclass(frozen=True)
class AttentionMaps(Loss):
    """The squared difference of attention maps at the ends of stages, added over the stages.

    Zagoruyko & Komodakis 2017. A map is the mean over channels of the features to the power of ``power``,
    divided by its norm. The paper compares maps by the norm of their difference and sums over channels; this
    is what the published code computes: the mean of the squared difference, over samples and positions.

    Attributes:
        student_layers: names of modules that put out maps, from the finest on; none (default) are the ends of
            the stages that are nearest in size to the teacher's.
        teacher_layers: as many of the teacher's; none (default) are the ends of all its stages.
        power: in [1, 8]; default 2.
        weight: multiplier of the term over training, in [0, 1,000,000] throughout; default 1000, that of the
            published scripts of CRD's comparison (Tian et al. 2020).
    """

    student_layers: tuple[str, ...] = ()
    teacher_layers: tuple[str, ...] = ()
    power: Annotated[int, Range(1, 8)] = 2
    weight: Annotated[Schedule, Range(0.0, 1e6, (100.0, 10_000.0), log=True, name="attention_weight")] = (
        Constant(1000.0)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.student_layers) != len(self.teacher_layers):
            raise ValueError(
                "student_layers and teacher_layers must name as many layers, got "
                f"{self.student_layers} and {self.teacher_layers}"
            )

    def build(self, probe: Probe) -> nn.Module:
        """See the contract."""
        return _Attention(self, probe)

    def looks_at(self) -> tuple[str, ...]:
        """The ends of stages, or those layers that are named."""
        return self.teacher_layers or (STAGES,)

    def check_temperature(self, only: float | None) -> None:
        """None is asked for."""
