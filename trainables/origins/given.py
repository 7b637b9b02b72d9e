"""The user's trained network, as it was given."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from trainables.models.base import Ready
from trainables.origins.base import Origin, fresh_network
from trainables.part import Part
from trainables.tasks.base import LoadedTask, Task
from trainables.teachers.base import Sources


@dataclass(frozen=True)
class Given(Origin):
    """A user's own trained network as it is, with the statistics of its normalisation.

    Attributes:
        model: the network, named by its architecture or code and its weights.
    """

    model: Ready

    @property
    def parent(self) -> str:
        """Its weights."""
        return self.model.weights

    @property
    def sizes(self) -> None:
        """None: it has its size."""
        return None

    def resized(self, sizes: Part) -> Given:
        """Never asked for."""
        raise ValueError(f"a trained network cannot be resized, got {sizes=}")

    @property
    def depth(self) -> float:
        """1: all of it."""
        return 1

    @property
    def width(self) -> float:
        """1: all of it."""
        return 1.0

    def outline(self, task: Task, data: LoadedTask) -> tuple[Ready, nn.Module]:
        """See the contract."""
        return self.model, fresh_network(self.model, task)

    def build(self, task: Task, data: LoadedTask, sources: Sources) -> tuple[Ready, nn.Module]:
        """See the contract.

        Raises:
            ValueError: the user's code or the library is not here, or fails.
        """
        network = fresh_network(self.model, task)
        network.load_state_dict(sources.given(self.model.weights))
        return self.model, network.to(data.device)
