"""What a slice computes beside the network that it is cut out of, before there is any data."""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from trainables.batch import Batch
from trainables.calling import samples_of
from trainables.interfaces.base import Interface
from trainables.metrics.macs import macs
from trainables.origins import Slice
from trainables.origins.base import Origin, fresh_network
from trainables.slicing.cut import Cut
from trainables.slicing.slicing import sliced
from trainables.tasks.base import Task

DRAWN = 4
"""Samples that a network is cut by."""

NARROW, SHALLOW = 0.35, 0.5
"""Of the two slices that are counted of a network: the width of one, and the depth of the other."""

PLACES = 8
"""Steps over the depth of a network in which the mean of its width is taken."""

SMALLEST_SHARE = 1e-4


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


def work_share(origin: Origin, task: Task) -> float:
    """Which share of the multiply-accumulates of the network that it begins with a student has, about.

    A slice takes seconds to cut, and a search draws hundreds. So two are cut of each network, a narrow and a
    shallow one, and what others compute is a power of the mean width over depth, times a straight line in the
    share of blocks that are kept.

    Args:
        origin: of the student; whatever is no slice computes all of it.
        task: that it learns.

    Raises:
        trainables.slicing.slicing.NotSliceable, ValueError: as for :func:`dense_and_sliced_macs`.
    """
    if not isinstance(origin, Slice):
        return 1.0
    exponent, slope = _work_of_shapes(replace(origin, cut=_shape(origin.cut, 1.0, 1.0)), task)
    logarithms = [math.log(origin.cut.share(place / PLACES)) for place in range(PLACES + 1)]
    width = math.exp(exponent * sum(logarithms) / len(logarithms))
    return min(max(width * (1.0 - slope * (1.0 - origin.cut.depth)), SMALLEST_SHARE), 1.0)


@functools.lru_cache(maxsize=64)
def _work_of_shapes(whole: Slice, task: Task) -> tuple[float, float]:
    """The power of the width that slices' work goes with, and how much of it lies in blocks that may go."""
    shares = []
    for width, depth in ((NARROW, 1.0), (1.0, SHALLOW)):
        dense, left = dense_and_sliced_macs(replace(whole, cut=_shape(whole.cut, width, depth)), task)
        shares.append(left / dense)
    narrow, shallow = shares
    return math.log(narrow) / math.log(NARROW), (1.0 - shallow) / (1.0 - SHALLOW)


def _shape(cut: Cut, width: float, depth: float) -> Cut:
    return replace(cut, width=width, depth=depth, first=1.0, last=1.0)


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
