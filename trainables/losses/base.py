"""The contract of loss terms beyond the task's own."""

from __future__ import annotations

from abc import abstractmethod

from torch import nn

from trainables.answers import Answers
from trainables.part import Part
from trainables.schedules import Schedule


class Loss(Part):
    """One term of the training loss; ``weight(progress)`` multiplies it."""

    weight: Schedule

    @abstractmethod
    def build(self) -> nn.Module:
        """A module ``(student, answers, batch, progress) -> scalar``, averaged over rows.

        ``student`` are its logits, shape (rows, classes), and ``answers`` what the teacher said to the same
        rows, or None. Rows of padding are in neither, see :class:`trainables.tasks.base.Batch`. It owns its
        projections. ``progress`` in [0, 1] is that of the whole training.
        """

    @abstractmethod
    def check_temperature(self, only: float | None) -> None:
        """Raise ``ValueError`` if the loss asks for answers at another temperature than ``only``.

        None is a teacher that answers at any.
        """


def check_answers(answers: Answers | None) -> Answers:
    """What the teacher said, checked to be there."""
    if answers is None:
        raise ValueError("this loss imitates a teacher, but the recipe's teacher is NoTeacher")
    return answers
