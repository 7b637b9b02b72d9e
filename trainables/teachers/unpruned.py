"""The student itself, with its pruned weights put back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Protocol, cast

from torch import Tensor, nn

from trainables.calling import call, main_output
from trainables.lesson import Lesson, Step
from trainables.ranges import Range
from trainables.schedules import Constant, Schedule
from trainables.tasks.base import LoadedTask, Task
from trainables.teachers.base import Sources, Teacher, TeacherPolicy
from trainables.twin import Twin


class Masked(Protocol):
    """What compresses a weight of the student, as this teacher uses it."""

    def unmasked(self, weight: Tensor) -> Tensor:
        """What the forward pass would use in place of ``weight`` if nothing of it were pruned."""
        ...


class _Unpruned(TeacherPolicy):
    def __init__(self, part: Unpruned, task: LoadedTask, student: nn.Module) -> None:
        def weigh(compressed: nn.Module, original: Tensor) -> Tensor:
            return cast(Masked, compressed).unmasked(original) if part.quantized else original

        super().__init__(own={"unpruned": Twin(student, weigh)})
        self._part = part
        self._task = task

    def forward(self, step: Step) -> Lesson:
        if step.progress < self._part.begin:
            return Lesson()
        output = call(self.own["unpruned"], step.batch.inputs)
        answers = self._task.memory.heard(step.batch.rows(main_output(output)).detach())
        loss = self._part.weight(step.progress) * self._task.loss(output, step.batch)
        return Lesson(answers, loss)


@dataclass(frozen=True)
class Unpruned(Teacher):
    """The student's own network with its masks lifted (PQK, Kim et al. 2021).

    Teacher and student live in one set of weights, so there is no trained network and nothing more to keep.
    The teacher learns from the labels while it is imitated: that moves all weights, and is all that moves the
    pruned ones, since no gradient of the student's loss reaches them. Both passes are in the student's mode,
    each with statistics of normalisation of its own. With nothing pruned both answer alike, but for dropout,
    which each draws for itself, and for inputs of layers, which are quantized in the student alone.

    Attributes:
        begin: progress of the whole training, in [0, 1], from which on it is imitated; silent before.
            Default 0.
        quantized: whether its weights are quantized where the student's are (default), or in full precision.
        weight: multiplier of its own loss over training, in [0, 1000] throughout; default 1.
    """

    begin: Annotated[float, Range(0.0, 1.0)] = 0.0
    quantized: bool = True
    weight: Annotated[Schedule, Range(0.0, 1000.0)] = Constant(1.0)

    def build(self, sources: Sources, task: LoadedTask, student: nn.Module) -> TeacherPolicy:
        """See the contract."""
        return _Unpruned(self, task, student)

    def view(self, epoch: int) -> None:
        """A fresh view in every epoch."""
        return None

    def temperature(self, task: Task) -> None:
        """Any."""
        return None
