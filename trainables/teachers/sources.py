"""Where trained networks come from within one process, and how their outputs travel between processes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor, nn

from trainables.tasks.base import LoadedTask
from trainables.teachers.inside import remember_features
from trainables.teachers.remembered import remember


class LocalSources:
    """Networks from a function; their outputs are computed when first asked for, then kept.

    Several trainers given the same object share what it keeps.

    Args:
        network: gives the trained network of a recipe's id.
        given: weights of users' networks by their digest; default none.
        route: gives what the network of a recipe's id was along its training, see
            :meth:`trainables.teachers.base.Sources.route`; default none.
    """

    def __init__(
        self,
        network: Callable[[str], nn.Module],
        given: Mapping[str, Mapping[str, Tensor]] | None = None,
        route: Callable[[str], Mapping[int, nn.Module]] | None = None,
    ) -> None:
        self._network = network
        self._given = dict(given or {})
        self._route = route
        self._outputs: dict[tuple[str, int, str], dict[str, Tensor]] = {}
        self._features: dict[tuple[str, int, str, str], tuple[Tensor, ...]] = {}

    def network(self, recipe_id: str) -> nn.Module:
        """See :class:`trainables.teachers.base.Sources`."""
        return self._network(recipe_id)

    def given(self, weights: str) -> Mapping[str, Tensor]:
        """See :class:`trainables.teachers.base.Sources`."""
        if weights not in self._given:
            raise ValueError(f"the weights {weights} of a user's network were not given")
        return self._given[weights]

    def route(self, recipe_id: str) -> Mapping[int, nn.Module]:
        """See :class:`trainables.teachers.base.Sources`."""
        if self._route is None:
            raise ValueError(f"no checkpoints along the training of {recipe_id} were given")
        return self._route(recipe_id)

    def outputs(self, recipe_id: str, views: int, task: LoadedTask) -> Mapping[str, Tensor]:
        """See :class:`trainables.teachers.base.Sources`."""
        key = (recipe_id, views, task.fingerprint())
        if key not in self._outputs:
            self._outputs[key] = remember(self._network(recipe_id), task, views)
        return self._outputs[key]

    def features(self, recipe_id: str, views: int, task: LoadedTask, place: str) -> tuple[Tensor, ...]:
        """See :class:`trainables.teachers.base.Sources`."""
        key = (recipe_id, views, task.fingerprint(), place)
        if key not in self._features:
            self._features[key] = remember_features(self._network(recipe_id), task, views, (place,))[place]
        return self._features[key]


class Checkpoints(Mapping[int, nn.Module]):
    """Networks along a training, each made when it is looked up and kept by nobody.

    Args:
        epochs: after which they were taken.
        make: gives the network after so many epochs.
    """

    def __init__(self, epochs: Iterable[int], make: Callable[[int], nn.Module]) -> None:
        self._epochs = dict.fromkeys(sorted(epochs))
        self._make = make

    def __getitem__(self, epoch: int) -> nn.Module:
        if epoch not in self._epochs:
            raise KeyError(epoch)
        return self._make(epoch)

    def __iter__(self) -> Iterator[int]:
        return iter(self._epochs)

    def __len__(self) -> int:
        return len(self._epochs)


@dataclass(frozen=True)
class TeacherOutputs:
    """What a trained network answered, to be put into an object store.

    Attributes:
        recipe_id: of the network.
        fingerprint: of the task in whose shared views it was asked, see
            :meth:`trainables.tasks.base.LoadedTask.fingerprint`.
        views: in how many views.
        values: what the task's memory keeps, each array of shape (views, rows, ...). What Ray gives is
            read-only and memory-mapped, one copy for all trials of a node.
        features: by place in the network, what its layers there put out, each array of shape (views, rows,
            ...); default none.
    """

    recipe_id: str
    fingerprint: str
    views: int
    values: Mapping[str, np.ndarray]
    features: Mapping[str, tuple[np.ndarray, ...]] = field(default_factory=dict)


class NoSources:
    """Of a recipe without a teacher."""

    def network(self, recipe_id: str) -> nn.Module:
        """See :class:`trainables.teachers.base.Sources`."""
        raise ValueError(f"the recipe imitates {recipe_id}, but no trained network was given")

    def given(self, weights: str) -> Mapping[str, Tensor]:
        """See :class:`trainables.teachers.base.Sources`."""
        raise ValueError(f"the recipe begins with the weights {weights}, but none were given")

    def route(self, recipe_id: str) -> Mapping[int, nn.Module]:
        """See :class:`trainables.teachers.base.Sources`."""
        raise ValueError(f"the recipe imitates {recipe_id} along its training, but no networks were given")

    def outputs(self, recipe_id: str, views: int, task: LoadedTask) -> Mapping[str, Tensor]:
        """See :class:`trainables.teachers.base.Sources`."""
        raise ValueError(f"the recipe imitates {recipe_id}, but no outputs of a trained network were given")

    def features(self, recipe_id: str, views: int, task: LoadedTask, place: str) -> tuple[Tensor, ...]:
        """See :class:`trainables.teachers.base.Sources`."""
        raise ValueError(f"the recipe imitates {recipe_id}, but no features of a trained network were given")
