"""Several trained networks, each asked about a task of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import nn

from trainables.answers import Mixed
from trainables.calling import call
from trainables.lesson import Lesson, Step
from trainables.memory import SideBySide
from trainables.ranges import Range
from trainables.schedules import Linear, Schedule
from trainables.tasks.base import LoadedTask, Task
from trainables.teachers.base import Sources, Teacher, TeacherPolicy, check_recipe_id


class _Several(TeacherPolicy):
    def __init__(
        self, part: Several, networks: Mapping[str, nn.Module], task: LoadedTask, memory: SideBySide
    ) -> None:
        super().__init__()
        self._part, self._task, self._memory = part, task, memory
        self._names = dict(zip(networks, map(str, range(len(networks))), strict=True))
        self.networks = nn.ModuleDict(
            {self._names[recipe_id]: network for recipe_id, network in networks.items()}
        )
        self.networks.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> _Several:
        return super().train(False)  # a teacher in train mode would move its own statistics

    def forward(self, step: Step) -> Lesson:
        recipe_id = self._part.teachers[step.batch.task]
        labels = self._task.loss(step.output, step.batch)
        if not recipe_id:
            return Lesson(Mixed(1.0, labels, None))
        with torch.no_grad():
            rows = step.batch.rows(call(self.networks[self._names[recipe_id]], step.batch.inputs))
        return Lesson(Mixed(self.share(step.progress), labels, self._memory.heard_of(step.batch.task, rows)))

    def share(self, progress: float) -> float:
        """Of the labels; as the schedule has it at the first step of all and at the last one."""
        steps = self._part.epochs * self._task.steps("train")
        return self._part.labels(min(1.0, round(progress * steps) / max(1, steps - 1)))


@dataclass(frozen=True)
class Several(Teacher):
    """A trained network for each task of a student with several tasks (BAM, Clark et al. 2019).

    Each is asked at every step that is of its task, and its answers are mixed with the labels: all that is
    said at the first step is the teacher's, at the last one the labels' (teacher annealing).

    Attributes:
        teachers: ``recipe_id`` of the network of each task, 16 hex digits; one of all tasks may stand for
            several. Empty where the task has none and is learnt from its labels alone.
        epochs: of the whole training, in [1, 1000000].
        labels: share of the labels over training, in [0, 1]; default from 0 to 1 on a straight line. Without
            annealing the published code has 0.5.
    """

    teachers: tuple[str, ...]
    epochs: Annotated[int, Range(1, 1_000_000)]
    labels: Annotated[Schedule, Range(0.0, 1.0)] = Linear(0.0, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        for recipe_id in filter(None, self.teachers):
            check_recipe_id(recipe_id)

    def build(self, sources: Sources, task: LoadedTask, student: nn.Module) -> TeacherPolicy:
        """See the contract.

        Raises:
            ValueError: the task is not as many tasks as there are teachers.
        """
        memory = task.memory
        if not isinstance(memory, SideBySide) or len(memory.widths) != len(self.teachers):
            count = len(memory.widths) if isinstance(memory, SideBySide) else 1
            raise ValueError(f"there must be a teacher for each of {count} tasks, got {self.teachers}")
        networks = {name: sources.network(name) for name in dict.fromkeys(filter(None, self.teachers))}
        return _Several(self, networks, task, memory)

    def view(self, epoch: int) -> None:
        """A fresh view in every epoch."""
        return None

    def temperature(self, task: Task) -> None:
        """Any."""
        return None
