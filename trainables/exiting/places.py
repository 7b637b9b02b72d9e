"""After which layers of a network its exits are."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from trainables.exiting.exits import Exits
from trainables.metrics.macs import counting
from trainables.modes import evaluating

Use = Callable[[nn.Module], None]
"""Runs a network on one input."""


class Place(NamedTuple):
    """A layer as one forward pass saw it.

    Attributes:
        name: of the layer.
        shape: of its output, the batch included; None where that is no tensor.
        macs: multiply-adds of the network until it had ended.
        calls: how often it was called.
    """

    name: str
    shape: tuple[int, ...] | None
    macs: int
    calls: int


def places(network: nn.Module, use: Use, exits: Exits) -> list[Place]:
    """The layers after which ``network`` gets ``exits``, in the order of execution.

    Args:
        network: in any mode; it is not changed.
        use: gives it one input.
        exits: names them, or says how many there are.

    Raises:
        ValueError: there are no such layers, or nothing is left to be saved after them.
    """
    known = {name for name, _ in network.named_modules() if name}
    for name in exits.at:
        if name not in known:
            names = ", ".join(_chain(network)) or "none"
            raise ValueError(f"the network has no layer {name!r} to have an exit; it has {names}")
    seen, total = _seen(network, use, exits.at or list(_chain(network)))
    if exits.at:
        return [_checked(name, seen, total) for name in sorted(exits.at, key=lambda name: _when(name, seen))]
    return _spread([place for place in seen.values() if _fits(place, total)], total, exits.count)


def _chain(module: nn.Module, prefix: str = "") -> Iterator[str]:
    """Names of the modules that a network runs one after another, as far as its structure tells."""
    for name, child in module.named_children():
        if isinstance(child, nn.Sequential):
            yield from _chain(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


@torch.no_grad()
def _seen(network: nn.Module, use: Use, names: Sequence[str]) -> tuple[dict[str, Place], int]:
    """What became of the modules called ``names`` in one forward pass, by name, in the order of execution."""
    copied = copy.deepcopy(network).cpu().eval()
    found: dict[str, Place] = {}
    with counting() as macs:

        def see(name: str, module: nn.Module, inputs: Any, output: Any) -> None:
            shape = tuple(output.shape) if isinstance(output, Tensor) else None
            calls = found.pop(name).calls + 1 if name in found else 1
            found[name] = Place(name, shape, macs(), calls)

        for name in names:
            copied.get_submodule(name).register_forward_hook(partial(see, name))
        with evaluating(copied):
            use(copied)
        return found, macs()


def _fits(place: Place, total: int) -> bool:
    return place.calls == 1 and place.shape is not None and len(place.shape) >= 2 and 0 < place.macs < total


def _checked(name: str, seen: dict[str, Place], total: int) -> Place:
    place = seen.get(name)
    if place is None:
        raise ValueError(f"the forward pass does not reach the layer {name!r}, which is to have an exit")
    if not _fits(place, total):
        raise ValueError(
            f"an exit after {name!r} needs a layer that is called once, gives a tensor of a batch and of "
            f"channels, and has work before and after it; it is called {place.calls} times, gives the shape "
            f"{place.shape} and ends after {place.macs:,} of {total:,} multiply-adds"
        )
    return place


def _when(name: str, seen: dict[str, Place]) -> int:
    return list(seen).index(name) if name in seen else -1


def _spread(fitting: Sequence[Place], total: int, count: int) -> list[Place]:
    """Of the places with different work before them those nearest to even shares of the whole, at most all.

    Of those with the same work before them the last is taken that still has a map of features: after
    normalisation, activation and pooling.
    """
    steps: dict[int, Place] = {}
    for place in fitting:
        held = steps.get(place.macs)
        if held is None or len(place.shape or ()) >= min(len(held.shape or ()), 3):
            steps[place.macs] = place
    left, found = list(steps.values()), list[Place]()
    if not left:
        raise ValueError(
            "early exits need layers that run one after another, with work before and after them, and the "
            "network shows none: name some by Exits(at=...)"
        )
    count = min(count, len(left))
    for number in range(count):
        wanted = total * (number + 1) / (count + 1)
        free = left[: len(left) - (count - number - 1)]
        nearest = min(free, key=lambda place: abs(place.macs - wanted))  # used at once
        found.append(nearest)
        left = left[left.index(nearest) + 1 :]
    return found
