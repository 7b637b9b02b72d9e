"""Another origin's network, with early exits."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from trainables.batch import Batch
from trainables.exiting.exits import Exits
from trainables.exiting.network import ExitNetwork
from trainables.exiting.places import places
from trainables.exiting.thresholds import settle
from trainables.metrics.macs import macs
from trainables.models.base import Model
from trainables.models.exited import Exited
from trainables.origins.base import Origin, fresh_network
from trainables.part import Part
from trainables.tasks.base import LoadedTask, Task
from trainables.teachers.base import Sources


@dataclass(frozen=True)
class WithExits(Origin):
    """Another origin's network with early exits, whose layers are new.

    Attributes:
        of: how the network comes to be that gets exits.
        exits: where they are, and what leaving early may cost.
    """

    of: Origin
    exits: Exits = Exits()

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.of, WithExits):
            raise ValueError("of must be no WithExits: name all exits at once")

    @property
    def model(self) -> Model:  # type: ignore[override]  # what others declare as a field
        """The architecture without exits."""
        return self.of.model

    @property
    def parent(self) -> str | None:
        """Of the network without exits."""
        return self.of.parent

    @property
    def cuts(self) -> bool:
        """Of the network without exits."""
        return self.of.cuts

    @property
    def sizes(self) -> Part | None:
        """Of the network without exits."""
        return self.of.sizes

    def resized(self, sizes: Part) -> WithExits:
        """The same exits in a network of another size."""
        return replace(self, of=self.of.resized(sizes))

    @property
    def depth(self) -> float:
        """Of the network without exits."""
        return self.of.depth

    @property
    def width(self) -> float:
        """Of the network without exits."""
        return self.of.width

    def outline(self, task: Task, data: LoadedTask) -> tuple[Model, nn.Module]:
        """See the contract."""
        return self._wrapped(*self.of.outline(task, data), task)

    def build(self, task: Task, data: LoadedTask, sources: Sources) -> tuple[Model, nn.Module]:
        """See the contract.

        Raises:
            ValueError: the task has no classes, or the network no layers that exits could follow.
        """
        model, network = self._wrapped(*self.of.build(task, data, sources), task)
        return model, network.to(data.device)

    def settled(
        self, student: Callable[[], nn.Module], task: Task, batches: Callable[[], Iterable[Batch]]
    ) -> dict[str, Tensor]:
        """See the contract: thresholds of the exits, and the shares of samples that leave at each."""
        network = student()
        assert isinstance(network, ExitNetwork)
        routes = [network.leaving_at(number) for number in range(len(network.shares))]
        costs = [macs(route, task.interface) for route in routes]
        left = iter(batches())
        first = next(left)
        settle(network.to(first.targets.device), itertools.chain((first,), left), costs, self.exits.drop)
        return {"thresholds": network.thresholds.cpu(), "shares": network.shares.cpu()}

    def checked(self, task: Task) -> WithExits:
        """This origin, if networks for ``task`` can have these exits.

        Raises:
            ValueError: they cannot.
        """
        if not task.interface.classifies:
            raise ValueError(
                f"an exit answers with one class for each sample, which is no answer in {type(task).__name__}"
            )
        _check_places(self.model, task, replace(self.exits, drop=0.0))
        return self

    def _wrapped(self, model: Model, network: nn.Module, task: Task) -> tuple[Model, nn.Module]:
        found = places(network, task.interface.use, self.exits)
        at = tuple(place.name for place in found)
        widths = [place.shape[1] for place in found if place.shape is not None]
        wrapped = ExitNetwork(network.cpu(), at, widths, task.outputs, self.exits.kind)
        task.interface.check(wrapped, task.outputs)
        return Exited(model, at, self.exits.kind), wrapped


@functools.lru_cache(maxsize=256)
def _check_places(model: Model, task: Task, exits: Exits) -> None:
    with torch.random.fork_rng(devices=[]):
        places(fresh_network(model, task), task.interface.use, exits)
