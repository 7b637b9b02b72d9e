"""Nobody is imitated."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from trainables.lesson import Lesson, Step
from trainables.tasks.base import LoadedTask, Task
from trainables.teachers.base import Sources, Teacher, TeacherPolicy


class _Nobody(TeacherPolicy):
    def forward(self, step: Step) -> Lesson:
        return Lesson()


@dataclass(frozen=True)
class NoTeacher(Teacher):
    """Training from labels alone."""

    def build(self, sources: Sources, task: LoadedTask, student: nn.Module) -> TeacherPolicy:
        """See the contract."""
        return _Nobody()

    def view(self, epoch: int) -> None:
        """A fresh view in every epoch."""
        return None

    def temperature(self, task: Task) -> None:
        """Any."""
        return None
