"""Nobody is imitated."""

from __future__ import annotations

from dataclasses import dataclass

from trainables.tasks.base import Batch, LoadedTask, Task
from trainables.teachers.base import Sources, Teacher, TeacherPolicy


class _Nobody(TeacherPolicy):
    def forward(self, batch: Batch, progress: float) -> None:
        return None


@dataclass(frozen=True)
class NoTeacher(Teacher):
    """Training from labels alone."""

    def build(self, sources: Sources, task: LoadedTask) -> TeacherPolicy:
        """See the contract."""
        return _Nobody()

    def view(self, epoch: int) -> None:
        """A fresh view in every epoch."""
        return None

    def temperature(self, task: Task) -> None:
        """Any."""
        return None
