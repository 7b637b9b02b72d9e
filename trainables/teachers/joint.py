"""A network that learns from labels while the student imitates it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import nn

from trainables.admission import still_modules, train
from trainables.calling import call, main_output
from trainables.lesson import Lesson, Step
from trainables.origins.base import Origin
from trainables.ranges import Range
from trainables.schedules import Constant, Schedule
from trainables.tasks.base import LoadedTask, Task
from trainables.teachers.base import Sources, Teacher, TeacherPolicy


class _Joint(TeacherPolicy):
    network: nn.Module

    def __init__(self, network: nn.Module, task: LoadedTask, weight: Schedule) -> None:
        super().__init__(network, {"network": network})
        self._still = still_modules(network)
        self._task = task
        self._weight = weight

    def forward(self, step: Step) -> Lesson:
        train(self.network, self._still)
        output = call(self.network, step.batch.inputs)
        answers = self._task.memory.heard(step.batch.rows(main_output(output)).detach())
        return Lesson(answers, self._weight(step.progress) * self._task.loss(output, step.batch))


@dataclass(frozen=True)
class Joint(Teacher):
    """A full-precision network that is trained together with the student (Apprentice, Mishra & Marr 2018).

    It sees what the student sees, in training mode, and learns from the labels alone; the student imitates
    what it says so far. No gradient of one reaches the other. It is not shipped.

    Attributes:
        origin: how it comes to be.
        task: the recipe's.
        weight: multiplier of its own loss over training, in [0, 1000] throughout; default 1.
    """

    origin: Origin
    task: Task
    weight: Annotated[Schedule, Range(0.0, 1000.0)] = Constant(1.0)

    def build(self, sources: Sources, task: LoadedTask, student: nn.Module) -> TeacherPolicy:
        """See the contract.

        Raises:
            ValueError: the network cannot be built, or is not what the task asks for.
        """
        _, network = self.origin.build(self.task, task, sources)
        return _Joint(network, task, self.weight)

    def view(self, epoch: int) -> None:
        """A fresh view in every epoch."""
        return None

    def temperature(self, task: Task) -> None:
        """Any."""
        return None
