"""Training on data of which only some samples have a label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from trainables.batch import Batch
from trainables.calling import main_output, mapped
from trainables.tasks.base import LoadedTask


def labelled_samples(share: float, samples: int) -> Tensor:
    """Which of a split's samples have a label: bool, shape (samples,), true for ``share`` of them.

    It is a function of its arguments alone, the same in every run, whatever its seed. Samples that have a
    label at one share have one at every larger share. A share above 0 is of at least one sample.
    """
    count = max(round(share * samples), 1) if share > 0 else 0
    found = torch.zeros(samples, dtype=torch.bool)
    ranks = np.argsort(_scattered(np.arange(samples, dtype=np.uint64)), kind="stable")
    found[torch.from_numpy(ranks[:count].copy())] = True
    return found


def _scattered(numbers: np.ndarray) -> np.ndarray:
    """SplitMix64 (Steele et al. 2014) of each number: neighbours come to lie anywhere."""
    mixed = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


class _PartlyLabelled:
    """A loaded task whose loss sees the labels of some training samples alone."""

    def __init__(self, task: LoadedTask, share: float) -> None:
        self._task = task
        self._labelled = labelled_samples(share, task.samples("train")).to(task.device)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def loss(self, output: Any, batch: Batch) -> Tensor:
        chosen = self._labelled.index_select(0, batch.index).nonzero().squeeze(1)
        if not len(chosen):  # a graph is wanted, also where it comes to nothing
            return (main_output(output) * 0.0).sum()
        return self._task.loss(*_only(chosen, output, batch))


def partly_labelled(task: LoadedTask, share: float) -> LoadedTask:
    """``task`` with the labels of ``share`` of its training samples.

    Its loss is the task's own, averaged over those samples of a training batch that have a label; 0 with a
    gradient of 0 where none has. All else is as it was: no validation or test label is taken away.

    Args:
        task: is not changed.
        share: in [0, 1]; 1 is the task itself.
    """
    return task if share == 1.0 else cast(LoadedTask, _PartlyLabelled(task, share))


def _only(chosen: Tensor, output: Any, batch: Batch) -> tuple[Any, Batch]:
    """What a network answered, and its batch, of the ``chosen`` samples (int64) alone."""
    samples, counted = len(batch.index), batch.counted
    if counted is not None:
        rows = main_output(output).flatten(0, -2).shape[0]
        inside = torch.zeros(rows, dtype=torch.bool, device=counted.device)
        inside[counted] = True
        counted = inside.view(samples, -1).index_select(0, chosen).flatten().nonzero().squeeze(1)

    def taken(value: Any) -> Any:
        if isinstance(value, Tensor):
            whole = value.dim() > 0 and len(value) == samples
            return value.index_select(0, chosen) if whole else value
        if isinstance(value, Mapping):
            return {name: taken(each) for name, each in value.items()}
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return type(value)(*map(taken, value))
        if isinstance(value, tuple | list):
            return type(value)(map(taken, value))
        return value

    part = batch._replace(
        inputs=mapped(lambda each: each.index_select(0, chosen), batch.inputs),
        targets=batch.targets.index_select(0, chosen),
        index=batch.index.index_select(0, chosen),
        counted=counted,
    )
    return taken(output), part
