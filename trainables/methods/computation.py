"""What a slice computes beside the network that it is cut out of, before there is any data."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from trainables.batch import Batch
from trainables.calling import samples_of
from trainables.interfaces.base import Interface
from trainables.metrics.macs import macs
from trainables.origins import Slice
from trainables.origins.base import fresh_network
from trainables.slicing.slicing import sliced
from trainables.tasks.base import Task

DRAWN = 4
"""Samples that a network is cut by."""


@functools.lru_cache(maxsize=1024)
def dense_and_sliced_macs(origin: Slice, task: Task) -> tuple[int, int]:
    """Multiply-accumulates of the whole network and of the slice, counted on networks with new weights.

    The width of each layer does not depend on the weights; which blocks go may, where the cut drops some.

    Raises:
        trainables.slicing.slicing.NotSliceable: a layer stands in the way.
        ValueError: the network cannot be built here.
    """
    with torch.random.fork_rng(devices=[]):
        whole = fresh_network(origin.model, task)
        inputs = _drawn_inputs(whole, task.interface)
        rows = torch.arange(samples_of(inputs))
        smaller, _ = sliced(
            whole, lambda: [Batch(inputs, rows, rows, None)], _no_loss, replace(origin.cut, importance="l1")
        )
        return macs(whole, task.interface), macs(smaller, task.interface)


@torch.no_grad()
def _drawn_inputs(network: nn.Module, interface: Interface) -> Any:
    """What the network itself is given when its first graph is."""
    seen: list[Any] = []

    def see(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.append(kwargs or (args[0] if len(args) == 1 else args))

    graph = next(iter(interface.graphs(network).values()))
    hook = network.register_forward_pre_hook(see, with_kwargs=True)
    graph.module(*graph.draw(DRAWN))
    hook.remove()
    if not seen:
        raise ValueError(
            f"what a slice of a {type(network).__name__} computes cannot be counted before training"
        )
    return seen[0]


def _no_loss(output: Tensor, batch: Batch) -> Tensor:
    raise AssertionError("channels are cut by their weights alone")
