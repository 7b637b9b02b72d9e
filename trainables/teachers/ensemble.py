"""The mean of all students of one training as their teacher."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from trainables.lesson import Lesson, Step
from trainables.memory import Memory
from trainables.tasks.base import LoadedTask, Task
from trainables.teachers.base import Sources, Teacher, TeacherPolicy


class _Mean(TeacherPolicy):
    def __init__(self, memory: Memory) -> None:
        super().__init__()
        self._memory = memory

    def forward(self, step: Step) -> Lesson:
        everyone = torch.stack([step.logits.detach(), *step.peers])
        return Lesson(self._memory.heard(everyone.mean(0)))


@dataclass(frozen=True)
class Ensemble(Teacher):
    """The mean of the logits of all students that are trained together, this one's included.

    It is a constant of the step: no student learns through it. Of Walawalkar et al. 2020, where the weights
    of the mean are not said, they are equal.
    """

    def build(self, sources: Sources, task: LoadedTask, student: nn.Module) -> TeacherPolicy:
        """See the contract."""
        return _Mean(task.memory)

    def view(self, epoch: int) -> None:
        """A fresh view in every epoch."""
        return None

    def temperature(self, task: Task) -> None:
        """Any."""
        return None
