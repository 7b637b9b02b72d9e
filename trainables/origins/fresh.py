"""A new network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

from torch import nn

from trainables.models.base import Model
from trainables.origins.base import Origin, fresh_network
from trainables.part import Part
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

    @property
    def sizes(self) -> Model:
        """The architecture's own numbers."""
        return self.model

    def resized(self, sizes: Part) -> Fresh:
        """A new network of another size."""
        return replace(self, model=cast(Model, sizes))

    @property
    def depth(self) -> float:
        """The architecture's."""
        return self.model.depth

    @property
    def width(self) -> float:
        """The architecture's."""
        return self.model.width

    def outline(self, task: Task, data: LoadedTask) -> tuple[Model, nn.Module]:
        """See the contract."""
        return self.model, fresh_network(self.model, task)

    def build(self, task: Task, data: LoadedTask, sources: Sources) -> tuple[Model, nn.Module]:
        """See the contract."""
        return self.model, fresh_network(self.model, task).to(data.device)
