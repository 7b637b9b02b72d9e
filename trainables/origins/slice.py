"""A trained network made smaller: whole channels and blocks are cut out of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import nn

from trainables.calling import main_output
from trainables.models.base import Model
from trainables.models.sliced import Sliced
from trainables.origins.base import Origin
from trainables.part import Part
from trainables.slicing.cut import Cut
from trainables.slicing.restart import restart
from trainables.slicing.slicing import sliced
from trainables.tasks.base import LoadedTask, Task
from trainables.teachers.base import Sources


@dataclass(frozen=True)
class Slice(Origin):
    """What structured pruning leaves of another origin's network.

    Channels and heads go along the network's dependencies (DepGraph, Fang et al. 2023), the least important
    first, and blocks that change least what goes through them. Batch normalisation is calibrated anew. What
    is kept has the weights it had, or with ``restart`` new ones in the same shape (scratch-E of Liu et al.
    2019).

    Attributes:
        of: how the network comes to be that is cut.
        cut: how much of what is kept.
        restart: whether training begins with new weights; default False.
    """

    of: Origin
    cut: Cut = Cut()
    restart: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.of, Slice):
            raise ValueError("of must be no Slice: one cut says it all")

    @property
    def model(self) -> Model:  # type: ignore[override]  # what others declare as a field
        """The architecture that is cut."""
        return self.of.model

    @property
    def parent(self) -> str | None:
        """Where the weights come from that it keeps."""
        return None if self.restart else self.of.parent

    @property
    def cuts(self) -> bool:
        """Yes."""
        return True

    @property
    def sizes(self) -> Cut:
        """The numbers of the cut."""
        return self.cut

    def resized(self, sizes: Part) -> Slice:
        """Another cut."""
        return replace(self, cut=cast(Cut, sizes))

    @property
    def depth(self) -> float:
        """The share of droppable blocks that is kept."""
        return self.cut.depth

    @property
    def width(self) -> float:
        """The share of channels that is kept."""
        return self.cut.width

    def outline(self, task: Task, data: LoadedTask) -> tuple[Model, nn.Module]:
        """See the contract; channels are chosen by weights alone, since importance changes no shape."""
        model, network = self.of.outline(task, data)
        return self._cut(model, network, data, replace(self.cut, importance="l1"))

    def build(self, task: Task, data: LoadedTask, sources: Sources) -> tuple[Model, nn.Module]:
        """See the contract.

        Raises:
            trainables.slicing.slicing.NotSliceable: a layer stands in the way.
        """
        model, network = self.of.build(task, data, sources)
        model, network = self._cut(model, network, data, self.cut)
        if self.restart:
            restart(network, int(torch.randint(2**31, ())))
        task.interface.check(network.cpu(), task.outputs)
        return model, network.to(data.device)

    def _cut(self, model: Model, network: nn.Module, data: LoadedTask, cut: Cut) -> tuple[Model, nn.Module]:
        with torch.random.fork_rng(devices=[]):
            smaller, changes = sliced(
                network.to(data.device),
                lambda: data.batches("train", 0),
                lambda output, batch: data.loss(main_output(output), batch),
                cut,
            )
        return Sliced(model, changes), smaller
