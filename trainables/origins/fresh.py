"""A new network."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from trainables.models.base import Model
from trainables.origins.base import Origin, fresh_network
from trainables.tasks.base import LoadedTask, Task
from trainables.teachers.base import Sources


@dataclass(frozen=True)
class Fresh(Origin):
    """A new network of a known architecture.

    Attributes:
        model: the architecture, at its depth and width.
    """

    model: Model

    @property
    def parent(self) -> None:
        """None: all weights are new."""
        return None

    def build(self, task: Task, data: LoadedTask, sources: Sources) -> tuple[Model, nn.Module]:
        """See the contract."""
        return self.model, fresh_network(self.model, task).to(data.device)
