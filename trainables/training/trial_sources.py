"""What a sweep gives its trials to imitate, in the form that teachers ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor, nn

from trainables.arrays import shared_tensor
from trainables.shipping.evaluation import open_student
from trainables.tasks.base import LoadedTask
from trainables.teachers.sources import TeacherOutputs


class TrialSources:
    """What a sweep gives its trials to imitate.

    Args:
        files: packed files of trained networks by recipe id; each is rebuilt when first asked for.
        outputs: of those networks.
        given: weights of networks that users gave, by their digest.
    """

    def __init__(
        self,
        files: Mapping[str, bytes],
        outputs: Sequence[TeacherOutputs],
        given: Mapping[str, Mapping[str, np.ndarray]],
    ) -> None:
        self._files = files
        self._given = given
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

    def outputs(self, recipe_id: str, views: int, task: LoadedTask) -> Mapping[str, Tensor]:
        """See :class:`trainables.teachers.base.Sources`."""
        kept = self._outputs.get((recipe_id, views))
        if kept is None:
            raise ValueError(f"the sweep has no outputs of recipe {recipe_id} in {views} views")
        if kept.fingerprint != (found := task.fingerprint()):
            raise ValueError(
                f"the outputs of recipe {recipe_id} are of the inputs {kept.fingerprint}, "
                f"but the trial trains on {found}"
            )
        return {name: shared_tensor(values) for name, values in kept.values.items()}
