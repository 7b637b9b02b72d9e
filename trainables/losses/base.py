"""The contract of loss terms beyond the task's own."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from trainables.answers import Answers
from trainables.part import Part
from trainables.probe import Probe
from trainables.schedules import Schedule


class Loss(Part):
    """One term of the training loss; ``weight(progress)`` multiplies it."""

    weight: Schedule

    @abstractmethod
    def build(self, probe: Probe) -> nn.Module:
        """A module ``(step, lesson) -> scalar``, averaged over the rows that count.

        ``step`` is a :class:`trainables.lesson.Step`, ``lesson`` what the teacher said to it. The module owns
        its projections and memories: parameters are trained with the student's weights, buffers are in
        checkpoints.

        Args:
            probe: gives features of both networks; those that the loss looks at are named here, once, by
                :meth:`trainables.probe.Features.watch`.

        Raises:
            ValueError: a network has no such feature.
        """

    def looks_at(self) -> tuple[str, ...]:
        """Places in the teacher's network whose features it looks at, see :mod:`trainables.layers`.

        None by default. What is named here can be remembered, see
        :class:`trainables.teachers.remembered.Remembered`.
        """
        return ()

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


def full_precision(features: Tensor) -> AbstractContextManager[None]:
    """Products within it are computed in the precision of what they are given, whatever training uses."""
    return torch.autocast(features.device.type, enabled=False)
