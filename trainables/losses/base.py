"""The contract of loss terms beyond the task's own."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import AbstractContextManager
from typing import ClassVar

import torch
from torch import Tensor, nn

from trainables.answers import Answers, Silence
from trainables.part import Part
from trainables.probe import Probe
from trainables.schedules import Schedule


class Loss(Part):
    """One term of the training loss; ``weight(progress)`` multiplies it.

    Attributes:
        weight: over training.
        imitates: whether the term needs a teacher's answers; default True.
    """

    weight: Schedule
    imitates: ClassVar[bool] = True

    @abstractmethod
    def build(self, probe: Probe) -> nn.Module:
        """A module ``(step, lesson) -> scalar``, averaged over the rows that count.

        A term that imitates is 0 at a step at which the teacher says nothing (``lesson.answers`` is None):
        some teachers are silent for a part of the training. :func:`check_answers` makes it so.

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
    """What the teacher said; :class:`trainables.answers.Silence` where it said nothing at this step."""
    return Silence() if answers is None else answers


def full_precision(features: Tensor) -> AbstractContextManager[None]:
    """Products within it are computed in the precision of what they are given, whatever training uses."""
    return torch.autocast(features.device.type, enabled=False)
