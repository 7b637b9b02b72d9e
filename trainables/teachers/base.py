"""The teacher contract: who is imitated at this step."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Protocol

from torch import Tensor, nn

from trainables.answers import Answers
from trainables.part import Part
from trainables.tasks.base import Batch, LoadedTask, Task


class Sources(Protocol):
    """Where a policy finds trained networks, and what they answered."""

    def network(self, recipe_id: str) -> nn.Module:
        """The trained network of that recipe.

        Raises:
            ValueError: there is none.
        """
        ...

    def outputs(self, recipe_id: str, views: int, task: LoadedTask) -> Mapping[str, Tensor]:
        """What that network answers to the first ``views`` shared views of ``task``'s training split.

        Returns:
            What ``task.memory`` keeps of it, each tensor of shape (views, rows, ...), on the CPU; perhaps
            read-only and shared with other processes, so never written to.

        Raises:
            ValueError: there are none, or they were computed from other inputs than ``task``'s.
        """
        ...


class TeacherPolicy(nn.Module):
    """What a :class:`Teacher` builds."""

    @abstractmethod
    def forward(self, batch: Batch, progress: float) -> Answers | None:
        """What to imitate in the rows of this batch that count; None where nobody is imitated."""


class Teacher(Part):
    """A policy, not a network: which trained networks are asked, and when."""

    @abstractmethod
    def build(self, sources: Sources, task: LoadedTask) -> TeacherPolicy:
        """The policy for training on ``task``."""

    @abstractmethod
    def view(self, epoch: int) -> int | None:
        """In which shared augmentation view the training split is seen in ``epoch``.

        None is a fresh view of the run's own; see :meth:`trainables.tasks.base.LoadedTask.batches`.
        """

    @abstractmethod
    def temperature(self, task: Task) -> float | None:
        """The only temperature at which it answers on ``task``; None is any."""


def check_recipe_id(recipe_id: str) -> None:
    """Raise ``ValueError`` unless ``recipe_id`` is the 16 hex digits that name a recipe."""
    if len(recipe_id) != 16 or not set(recipe_id) <= set("0123456789abcdef"):
        raise ValueError(f"recipe_id must be 16 hex digits, got recipe_id={recipe_id!r}")
