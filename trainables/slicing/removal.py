"""Channels taken out of the tensors of a network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from trainables.slicing.shapes import replace_tensor, set_size, settle
from trainables.slicing.slots import Side, Slot, slots


@dataclass
class Removal:
    """What is taken out of a network.

    Attributes:
        layers: by name of the layer and side, the channels that go.
        parameters: by name of a parameter that no known layer has, the dimension and the indices that go.
        sizes: by module and attribute, the new value of a size that the module keeps for itself.
        queries: by name of the layer that makes them, the channels of attention's queries and the factor by
            which attention divides them less than before, because its heads are smaller; only for the trial.
    """

    layers: dict[tuple[str, Side], set[int]] = field(default_factory=dict)
    parameters: dict[str, tuple[int, set[int]]] = field(default_factory=dict)
    sizes: dict[tuple[str, str], int] = field(default_factory=dict)
    queries: dict[str, tuple[tuple[int, ...], float]] = field(default_factory=dict)

    def add(self, other: Removal) -> None:
        """Take out what ``other`` takes out, too."""
        for key, channels in other.layers.items():
            self.layers.setdefault(key, set()).update(channels)
        for name, (dim, indices) in other.parameters.items():
            self.parameters.setdefault(name, (dim, set()))[1].update(indices)
        self.sizes.update(other.sizes)
        self.queries.update(other.queries)


def tensor_of(layer: nn.Module, slot: Slot) -> Tensor | None:
    """The tensor of a layer that a slot is about; None where the layer has none of this name."""
    owner, _, name = slot.tensor.rpartition(".")
    module = layer.get_submodule(owner)
    found = module._parameters.get(name)
    return module._buffers.get(name) if found is None else found


def per_channel(tensor: Tensor, slot: Slot) -> Tensor:
    """The sum over all that a tensor has of each channel of a slot, shape (size,)."""
    if slot.groups > 1:
        rows = tensor.unflatten(0, (slot.groups, -1)).transpose(1, 2)
        return rows.flatten(2).sum(2).flatten()
    return tensor.movedim(slot.dim, 0).flatten(1).sum(1).unflatten(0, (slot.repeated, slot.size)).sum(0)


def silence(network: nn.Module, removal: Removal) -> None:
    """Put zeros into what reads the channels that go, in place: nothing is left of them in the output."""
    for _, slot, tensor, gone in _touched(network, removal):
        if slot.reads and slot.groups > 1:
            rows = tensor.data.unflatten(0, (slot.groups, -1))
            for index in gone:
                group, column = divmod(index, slot.size // slot.groups)
                rows[group, :, column] = 0
        elif slot.reads:
            tensor.data.index_fill_(slot.dim, torch.tensor(sorted(gone), device=tensor.device), 0)
    for name, (channels, factor) in removal.queries.items():
        for tensor in network.get_submodule(name).parameters(recurse=False):
            tensor.data[list(channels)] *= factor
            # Attention itself reads these: it sums over them.
            tensor.data[sorted(removal.layers[name, "out"].intersection(channels))] = 0


def remove(network: nn.Module, removal: Removal) -> None:
    """Take the channels out, in place.

    A parameter that has several names stays one, and what needs no gradient goes on needing none.

    Raises:
        ValueError: a parameter that several layers share would be cut in two ways.
    """
    picks = _picks(network, removal)
    shared: dict[int, list[str]] = {}
    for name, tensor in _tensors(network):
        shared.setdefault(id(tensor), []).append(name)
    tensors = dict(_tensors(network))
    done: set[int] = set()
    for name, kept in picks.items():
        tensor = tensors[name]
        if id(tensor) in done:
            continue
        done.add(id(tensor))
        for other in shared[id(tensor)]:
            if picks.get(other, kept) != kept:
                raise ValueError(f"{name} and {other} are one parameter and would be cut in two ways")
        small = _kept(tensor.data, kept)
        replace_tensor(network, shared[id(tensor)], small)
    for (name, attribute), value in removal.sizes.items():
        set_size(network.get_submodule(name), attribute, value)
    for module in network.modules():
        settle(module)


Kept = dict[tuple[int, int], tuple[int, ...]]
"""By (dimension, groups) the indices that stay; of a dimension in groups counted through all groups."""


def _picks(network: nn.Module, removal: Removal) -> dict[str, Kept]:
    """By full name of a tensor, what stays of it."""
    gone_of: dict[str, dict[tuple[int, int], set[int]]] = {}
    length: dict[str, dict[tuple[int, int], int]] = {}
    for name, slot, tensor, gone in _touched(network, removal):
        key = (slot.dim, slot.groups)
        gone_of.setdefault(name, {}).setdefault(key, set()).update(gone)
        length.setdefault(name, {})[key] = tensor.shape[slot.dim] * slot.groups
    return {
        name: {
            key: tuple(i for i in range(length[name][key]) if i not in gone) for key, gone in found.items()
        }
        for name, found in gone_of.items()
    }


def _touched(network: nn.Module, removal: Removal) -> Iterator[tuple[str, Slot, Tensor, set[int]]]:
    """Each slot that loses channels: name of its tensor, the slot, the tensor, its indices that go."""
    for (name, side), channels in removal.layers.items():
        layer = network.get_submodule(name)
        for slot in slots(layer, side):
            tensor, gone = tensor_of(layer, slot), set(slot.indices(channels))
            if tensor is not None and gone:
                yield f"{name}.{slot.tensor}" if name else slot.tensor, slot, tensor, gone
    for name, (dim, gone) in removal.parameters.items():
        tensor = network.get_parameter(name)
        if gone:
            yield name, Slot(name, dim, 0, tensor.shape[dim]), tensor, gone


def _kept(tensor: Tensor, kept: Kept) -> Tensor:
    for (dim, groups), indices in sorted(kept.items(), key=lambda item: -item[0][1]):  # those in groups first
        chosen = torch.tensor(indices, device=tensor.device, dtype=torch.int64)
        if groups == 1:
            tensor = tensor.index_select(dim, chosen)
            continue
        width = tensor.shape[1]
        rows = tensor.unflatten(0, (groups, -1))
        parts = [rows[g].index_select(1, chosen[chosen // width == g] % width) for g in range(groups)]
        if len({part.shape[1] for part in parts}) > 1:
            raise ValueError("the groups of a convolution would lose different numbers of channels")
        tensor = torch.cat(parts)
    return tensor.clone()


def _tensors(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from network.named_parameters(remove_duplicate=False)
    yield from network.named_buffers(remove_duplicate=False)
