"""A teacher that costs nothing: a seeded, untrained network; its outputs are still targets."""

import torch
from torch import nn

from trainables.models import ConvNet
from trainables.teachers.sources import LocalSources


def small_teacher(task) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        return ConvNet(stages=((12,), (12,)), hidden=(24,), kernel_size=3, depth=1).build(
            task.input_shape, task.outputs
        )


def local_sources(task) -> LocalSources:
    """Of every recipe the same small teacher."""
    return LocalSources(lambda recipe_id: small_teacher(task))
