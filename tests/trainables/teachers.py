"""A teacher that costs nothing: a seeded, untrained network; its outputs are still targets."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from trainables.models import LSTM, ConvNet
from trainables.tasks.base import Arrays, Task, TaughtTask
from trainables.teachers.sources import Checkpoints, LocalSources


def small_teacher(task: Task) -> nn.Module:
    """Of images if their shape says so, else of sentences."""
    images = ConvNet(stages=((12,), (12,)), hidden=(24,), kernel_size=3, depth=1)
    model = images if len(task.input_shape) == 3 else LSTM(depth=1, units=24, embedding=16)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return model.build(task.input_shape, task.outputs)


def local_sources(task: Task) -> LocalSources:
    """Of every recipe the same small teacher, and what it was along a training that never was."""
    return LocalSources(lambda recipe_id: small_teacher(task), route=lambda recipe_id: small_route(task))


def small_route(task: Task, epochs: int = 6) -> Checkpoints:
    """Networks on a straight way from other weights to those of the small teacher."""

    def after(epoch: int) -> nn.Module:
        network = small_teacher(task)
        random = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for tensor in network.parameters():
                noise = torch.randn(tensor.shape, generator=random) * (1 - epoch / epochs)
                tensor.add_(noise, alpha=float(tensor.std()) if tensor.numel() > 1 else 0.1)
        return network.eval()

    return Checkpoints(range(1, epochs + 1), after)


def data_of(task: Task, directory: Path | None = None) -> Arrays:
    """The task's data, and what the small teacher makes of it where it has to."""
    arrays = task.load(directory)
    if isinstance(task, TaughtTask):
        arrays = {**arrays, **task.taught(small_teacher(task), arrays, torch.device("cpu"))}
    return arrays
