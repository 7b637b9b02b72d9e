"""One trained network, asked at every step."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from trainables.calling import call
from trainables.lesson import Lesson, Step
from trainables.memory import Memory
from trainables.tasks.base import LoadedTask, Task
from trainables.teachers.base import Sources, Teacher, TeacherPolicy, check_recipe_id


class _Frozen(TeacherPolicy):
    network: nn.Module

    def __init__(self, network: nn.Module, memory: Memory) -> None:
        super().__init__(network.requires_grad_(False).eval())
        self._memory = memory

    def train(self, mode: bool = True) -> _Frozen:
        return super().train(False)  # a teacher in train mode would move its own statistics

    @torch.no_grad()
    def forward(self, step: Step) -> Lesson:
        return Lesson(self._memory.heard(step.batch.rows(call(self.network, step.batch.inputs))))


@dataclass(frozen=True)
class Fixed(Teacher):
    """The network that the recipe ``recipe_id`` produced, in eval mode (Hinton et al. 2015).

    It sees what the student sees, views that never come again, and costs its forward pass at every step;
    :class:`trainables.teachers.remembered.Remembered` costs a lookup.

    Attributes:
        recipe_id: 16 hex digits, the identity of the teacher's own recipe.
    """

    recipe_id: str

    def __post_init__(self) -> None:
        super().__post_init__()
        check_recipe_id(self.recipe_id)

    def build(self, sources: Sources, task: LoadedTask, student: nn.Module) -> TeacherPolicy:
        """See the contract."""
        return _Frozen(sources.network(self.recipe_id), task.memory)

    def view(self, epoch: int) -> None:
        """A fresh view in every epoch."""
        return None

    def temperature(self, task: Task) -> None:
        """Any."""
        return None
