"""The teacher contract: who is imitated at this step."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from trainables.part import Part


class TeacherPolicy(nn.Module):
    """What a :class:`Teacher` builds."""

    @abstractmethod
    def forward(self, batch: Any, progress: float) -> Tensor | None:
        """The output to imitate for this batch, detached; None where nobody is imitated."""


class Teacher(Part):
    """A policy, not a network: which trained networks are asked, and when."""

    @abstractmethod
    def build(self, network: Callable[[str], nn.Module]) -> TeacherPolicy:
        """The policy; ``network(recipe_id)`` gives the trained network of that recipe."""
