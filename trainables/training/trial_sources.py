"""What a sweep gives its trials to imitate, in the form that teachers ask for."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from torch import Tensor, nn

from trainables.arrays import shared_tensor
from trainables.data.kept import Joined
from trainables.shipping.evaluation import open_student
from trainables.tasks.base import Arrays, LoadedTask, TaughtTask
from trainables.teachers.sources import Checkpoints, TeacherOutputs


class Products(Protocol):
    """What a trained network makes for those that imitate it, when it is asked for.

    Attributes:
        recipe_id: of the network.
        fingerprint: of its task's data, see :meth:`trainables.tasks.base.LoadedTask.fingerprint`.
    """

    @property
    def recipe_id(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    def outputs(self, views: int, arrays: Arrays, device: str, threads: int) -> Arrays:
        """What it answers to so many shared views of the training split."""
        ...

    def features(
        self, views: int, place: str, arrays: Arrays, device: str, threads: int
    ) -> tuple[np.ndarray, ...]:
        """What its layers at ``place`` put out there."""
        ...

    def product(self, taught: TaughtTask, arrays: Arrays, device: str, threads: int) -> Arrays:
        """The arrays that ``taught`` takes from it."""
        ...


@dataclass(frozen=True)
class Making:
    """Where products are made, if this process is the first that needs one.

    Attributes:
        products: of the teacher.
        arrays: the data of its task.
        device: ``cpu`` or ``cuda``.
        threads: on the CPU.
    """

    products: Products
    arrays: Arrays
    device: str
    threads: int


class TrialSources:
    """What a sweep gives its trials to imitate.

    Args:
        files: packed files of trained networks by recipe id; each is rebuilt when first asked for.
        outputs: of those networks.
        given: weights of networks that users gave, by their digest.
        routes: packed files of networks along their trainings, as bytes, by recipe id and epochs finished;
            default none.
        making: how what is not there yet is made; default not at all.

    Attributes:
        seconds: for which making, or waiting for another process that did, has taken so far.
    """

    def __init__(
        self,
        files: Mapping[str, bytes],
        outputs: Sequence[TeacherOutputs],
        given: Mapping[str, Mapping[str, np.ndarray]],
        routes: Mapping[str, Mapping[int, np.ndarray]] | None = None,
        making: Making | None = None,
    ) -> None:
        self.seconds = 0.0
        self._making = making
        self._files = files
        self._given = given
        self._routes = routes or {}
        self._outputs = {(kept.recipe_id, kept.views): kept for kept in outputs}
        self._networks: dict[str, nn.Module] = {}

    def network(self, recipe_id: str) -> nn.Module:
        """See :class:`trainables.teachers.base.Sources`."""
        if recipe_id not in self._networks:
            if recipe_id not in self._files:
                raise ValueError(f"the sweep has no trained network of recipe {recipe_id}")
            _, self._networks[recipe_id] = open_student(self._files[recipe_id])
        return self._networks[recipe_id]

    def given(self, weights: str) -> Mapping[str, Tensor]:
        """See :class:`trainables.teachers.base.Sources`."""
        if weights not in self._given:
            raise ValueError(f"the sweep has no weights {weights} of a user's network")
        return {name: shared_tensor(values) for name, values in self._given[weights].items()}

    def route(self, recipe_id: str) -> Mapping[int, nn.Module]:
        """See :class:`trainables.teachers.base.Sources`."""
        if recipe_id not in self._routes:
            raise ValueError(f"the sweep has no checkpoints along the training of recipe {recipe_id}")
        files = self._routes[recipe_id]
        return Checkpoints(files, lambda epoch: open_student(files[epoch].tobytes())[1])

    def outputs(self, recipe_id: str, views: int, task: LoadedTask) -> Mapping[str, Tensor]:
        """See :class:`trainables.teachers.base.Sources`."""
        kept = self._kept(recipe_id, views, task)
        return {name: shared_tensor(values) for name, values in kept.values.items()}

    def features(self, recipe_id: str, views: int, task: LoadedTask, place: str) -> tuple[Tensor, ...]:
        """See :class:`trainables.teachers.base.Sources`."""
        kept, making = self._kept(recipe_id, views, task), self._making
        if place not in kept.features:
            if making is None or making.products.recipe_id != recipe_id:
                raise ValueError(f"the sweep has no features of recipe {recipe_id} at {place!r}")
            with self._timed():
                found = making.products.features(views, place, making.arrays, making.device, making.threads)
            kept = replace(kept, features={**kept.features, place: found})
            self._outputs[recipe_id, views] = kept
        return tuple(shared_tensor(values) for values in kept.features[place])

    def taught(self, task: TaughtTask) -> Arrays:
        """The data of ``task``, with what its teacher makes of them.

        Raises:
            ValueError: the sweep has no teacher that could.
        """
        making = self._making
        if making is None:
            raise ValueError(f"the sweep has no teacher that makes {task.product}")
        with self._timed():
            made = making.products.product(task, making.arrays, making.device, making.threads)
        return Joined(made, making.arrays)

    @contextmanager
    def _timed(self) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - started

    def _kept(self, recipe_id: str, views: int, task: LoadedTask) -> TeacherOutputs:
        kept, making = self._outputs.get((recipe_id, views)), self._making
        if kept is None and making is not None and making.products.recipe_id == recipe_id:
            with self._timed():
                values = making.products.outputs(views, making.arrays, making.device, making.threads)
            kept = TeacherOutputs(recipe_id, making.products.fingerprint, views, values)
            self._outputs[recipe_id, views] = kept
        if kept is None:
            raise ValueError(f"the sweep has no outputs of recipe {recipe_id} in {views} views")
        if kept.fingerprint != (found := task.fingerprint()):
            raise ValueError(
                f"the outputs of recipe {recipe_id} are of the inputs {kept.fingerprint}, "
                f"but the trial trains on {found}"
            )
        return kept
