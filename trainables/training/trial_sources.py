"""What a sweep gives its trials to imitate, in the form that teachers ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor, nn

from trainables.arrays import shared_tensor
from trainables.shipping.evaluation import open_student
from trainables.tasks.base import LoadedTask
from trainables.teachers.sources import Checkpoints, TeacherOutputs


class TrialSources:
    """What a sweep gives its trials to imitate.

    Args:
        files: packed files of trained networks by recipe id; each is rebuilt when first asked for.
        outputs: of those networks.
        given: weights of networks that users gave, by their digest.
        routes: packed files of networks along their trainings, as bytes, by recipe id and epochs finished;
            default none.
    """

    def __init__(
        self,
        files: Mapping[str, bytes],
        outputs: Sequence[TeacherOutputs],
        given: Mapping[str, Mapping[str, np.ndarray]],
        routes: Mapping[str, Mapping[int, np.ndarray]] | None = None,
    ) -> None:
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
        kept = self._kept(recipe_id, views, task)
        if place not in kept.features:
            raise ValueError(f"the sweep has no features of recipe {recipe_id} at {place!r}")
        return tuple(shared_tensor(values) for values in kept.features[place])

    def _kept(self, recipe_id: str, views: int, task: LoadedTask) -> TeacherOutputs:
        kept = self._outputs.get((recipe_id, views))
        if kept is None:
            raise ValueError(f"the sweep has no outputs of recipe {recipe_id} in {views} views")
        if kept.fingerprint != (found := task.fingerprint()):
            raise ValueError(
                f"the outputs of recipe {recipe_id} are of the inputs {kept.fingerprint}, "
                f"but the trial trains on {found}"
            )
        return kept
