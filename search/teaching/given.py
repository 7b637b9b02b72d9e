"""A user's own network as a teacher: packed as it was given, without training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from trainables.origins.base import Origin
from trainables.recipe import Recipe
from trainables.tasks.base import LoadedTask
from trainables.teachers.sources import LocalSources, NoSources
from trainables.training.trainer import Trainer


def packed_as_given(recipe: Recipe, task: LoadedTask, given: Mapping[str, Mapping[str, Tensor]]) -> bytes:
    """The packed file of a network in full precision, which is what a sweep measures of it.

    Args:
        recipe: of the network, without epochs.
        task: its data, on the CPU.
        given: its weights by their digest.
    """
    sources = LocalSources(NoSources().network, given)
    return Trainer(recipe, task, sources, torch.device("cpu")).ship()


def route_as_given(
    recipe: Recipe,
    task: LoadedTask,
    route: Sequence[tuple[Origin, Mapping[str, Tensor]]],
    file: bytes,
) -> dict[int, np.ndarray]:
    """Packed files, as bytes (uint8), along the training of a user's network, numbered from 1.

    Args:
        recipe: of the network, without epochs.
        task: its data, on the CPU.
        route: its checkpoints but the last, and their weights.
        file: the packed file of the network itself, which is the last.
    """
    files = [
        packed_as_given(replace(recipe, origin=origin), task, {str(origin.parent): weights})
        for origin, weights in route
    ]
    return {number: np.frombuffer(each, np.uint8) for number, each in enumerate([*files, file], 1)}
