"""The contract of loss terms beyond the task's own."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from trainables.part import Part
from trainables.schedules import Schedule


class Loss(Part):
    """One term of the training loss; ``weight(progress)`` multiplies it."""

    weight: Schedule

    @abstractmethod
    def build(self) -> nn.Module:
        """A module ``(student_output, teacher_output, batch, progress) -> scalar``.

        It owns its projections. ``progress`` in [0, 1] is that of the whole training.
        """


def check_targets(student: Tensor, teacher: Tensor | None) -> Tensor:
    """The teacher's output, checked to be there and of the student's shape."""
    if teacher is None:
        raise ValueError("this loss imitates a teacher, but the recipe's teacher is NoTeacher")
    if student.shape != teacher.shape:
        raise ValueError(
            f"student and teacher outputs differ in shape: {tuple(student.shape)} and {tuple(teacher.shape)}"
        )
    return teacher
