"""A user's own network as a teacher: packed as it was given, without training."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

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
