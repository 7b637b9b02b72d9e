"""Inner features of a trained network that were computed beforehand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from trainables.batch import Batch
from trainables.calling import call
from trainables.probe import Features
from trainables.tasks.base import LoadedTask

Recall = Callable[[str], tuple[Tensor, ...]]
"""Gives the features at a place, each of shape (views, rows, ...)."""


class RememberedFeatures:
    """Features of the shared views, looked up by view and row; see :class:`trainables.probe.Inner`.

    Args:
        recall: gives what was kept, in half precision; called once per place.
        task: whose training split is seen, and where features appear.
    """

    def __init__(self, recall: Recall, task: LoadedTask) -> None:
        self._recall, self._task = recall, task
        self._kept: dict[str, Tensor] = {}
        self._batch: Batch | None = None

    def find(self, place: str) -> tuple[str, ...]:
        """See :class:`trainables.probe.Inner`; names are of the place, numbered where it has several."""
        if f"{place}/0" not in self._kept:
            for number, kept in enumerate(self._recall(place)):
                self._kept[f"{place}/{number}"] = kept.to(self._task.device)
        return tuple(name for name in self._kept if name.rpartition("/")[0] == place)

    def watch(self, name: str) -> tuple[int, ...]:
        """See :class:`trainables.probe.Inner`; of sequences, the shape of one position."""
        return tuple(self._kept[self._known(name)].shape[2:])

    def hear(self, batch: Batch) -> None:
        """Give the features of ``batch`` from now on."""
        self._batch = batch

    def __getitem__(self, name: str) -> Tensor:
        """The features of the rows of this step's batch that count, in single precision."""
        assert self._batch is not None and self._batch.view is not None  # as its teacher has checked
        rows = self._task.row_numbers(self._batch)
        return self._kept[self._known(name)][self._batch.view].index_select(0, rows).float()

    def _known(self, name: str) -> str:
        """``name`` as it is kept; the name of a module is a place, too."""
        return name if name in self._kept else self.find(name)[0]


@torch.no_grad()
def remember_features(
    network: nn.Module, task: LoadedTask, views: int, places: Sequence[str]
) -> dict[str, tuple[Tensor, ...]]:
    """The features of ``network`` at ``places``, in eval mode, in the shared views of the training split.

    Args:
        network: moved to the task's device and left in eval mode there.
        task: where the inputs come from.
        views: how many of the shared views, from the first on.
        places: see :mod:`trainables.layers`; all are looked at in one pass.

    Returns:
        By place, per name that it stands for, float16 of shape (views, rows, ...), on the CPU.

    Raises:
        ValueError: the network has no such place, or a feature is not finite in float16.
    """
    features, named = _watched(network.to(task.device).eval(), task, places)
    names = tuple(dict.fromkeys(name for each in named.values() for name in each))
    found: dict[str, list[Tensor]] = {name: [] for name in names}
    for view in range(views):
        parts: dict[str, list[Tensor]] = {name: [] for name in names}
        numbers: list[Tensor] = []
        for batch in task.in_order("train", view):
            with features.recorded():
                call(network, batch.inputs)
                for name, part in parts.items():
                    part.append(_halved(batch.features(features[name]), name))
            numbers.append(task.row_numbers(batch).cpu())
            for name, part in parts.items():
                if len(numbers[-1]) != len(part[-1]):
                    raise ValueError(f"the features at {name!r} are not one per row of what the task answers")
        order = torch.cat(numbers).argsort()
        for name, part in parts.items():
            found[name].append(torch.cat(part)[order])
    whole = {name: torch.stack(each) for name, each in found.items()}
    return {place: tuple(whole[name] for name in each) for place, each in named.items()}


@torch.no_grad()
def feature_bytes(network: nn.Module, task: LoadedTask, place: str) -> int:
    """Bytes that the features at ``place`` take in one view; ``ValueError`` if there is no such place."""
    features, named = _watched(network.eval(), task, (place,))
    names = named[place]
    batch = next(task.in_order("train"))
    with features.recorded():
        call(network, batch.inputs)
        numbers = sum(batch.features(features[name])[0].numel() for name in names)
    return 2 * numbers * task.rows("train")


def _watched(
    network: nn.Module, task: LoadedTask, places: Sequence[str]
) -> tuple[Features, dict[str, tuple[str, ...]]]:
    """The features of ``network``, watched, and the names that each place stands for."""
    features = Features(network, lambda: next(task.in_order("train")).inputs)
    named = {place: features.find(place) for place in places}
    for name in dict.fromkeys(name for each in named.values() for name in each):
        features.watch(name)
    return features, named


def _halved(features: Tensor, name: str) -> Tensor:
    halved = features.half()
    if not bool(torch.isfinite(halved).all()):
        raise ValueError(
            f"the teacher's features at {name} must lie in float16's range to be remembered, "
            f"got {features.abs().max()}"
        )
    return halved.cpu()
