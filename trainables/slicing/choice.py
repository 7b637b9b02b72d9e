"""Which channels of a network are the least important."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn

from trainables.batch import Batch
from trainables.calling import call
from trainables.slicing.cut import Cut
from trainables.slicing.graph import Family, Member
from trainables.slicing.removal import Removal, per_channel, tensor_of
from trainables.slicing.slots import Side, Slot, equal_parts, slots

GRADIENT_BATCHES = 8
"""Over how many batches gradients are looked at."""

Atom = tuple[int, ...]
"""Channels of a family's root that stand or fall together."""
Loss = Callable[[Tensor, Batch], Tensor]


@dataclass(frozen=True)
class Scores:
    """How important the channels of each side of each layer are.

    Attributes:
        importance: as :class:`~trainables.slicing.cut.Cut` has it.
        values: by layer and side, float64 of shape (observations, channels): magnitudes (one observation),
            or for each batch by how much the loss changes per share of the channel that is there.
    """

    importance: str
    values: dict[tuple[str, Side], Tensor]

    def combined(self, values: Tensor) -> Tensor:
        """One number per column of (observations, columns): what is larger is kept."""
        if self.importance == "fisher":
            return values.square().mean(0)
        return values.mean(0).abs()

    def of(self, family: Family, joined: list[Atom]) -> Tensor:
        """The importance of each of these atoms, shape (atoms,)."""
        observations = max((len(values) for values in self.values.values()), default=1)
        total = torch.zeros(observations, len(joined), dtype=torch.float64)
        for member in family.members:
            values = self.values.get((member.name, member.side))
            if values is None or member.dim is not None:
                continue
            for number, places in enumerate(_places(member, joined)):
                total[:, number] += values[:, places].sum(1)
        return self.combined(total)


def scores_of(network: nn.Module, batches: Iterable[Batch], loss: Loss, importance: str) -> Scores:
    """The importance of every channel of ``network``, which stays as it is and is in eval mode."""
    found: dict[tuple[str, Side], list[Tensor]] = {}
    if importance == "l1":
        _observe(network, found, lambda tensor, slot: None if tensor.dim() < 2 else _magnitudes(tensor, slot))
    else:
        flags = [parameter.requires_grad for parameter in network.parameters()]
        network.requires_grad_(True)
        for batch in islice(batches, GRADIENT_BATCHES):
            network.zero_grad()
            with torch.enable_grad():
                loss(call(network, batch.inputs), batch).backward()
            _observe(network, found, _derivatives)
        network.zero_grad()
        for parameter, flag in zip(network.parameters(), flags, strict=True):
            parameter.requires_grad_(flag)
    return Scores(importance, {key: torch.stack(values) for key, values in found.items()})


def _magnitudes(tensor: Tensor, slot: Slot) -> Tensor:
    sums = per_channel(tensor.detach().double().abs(), slot)
    return sums / sums.mean().clamp(min=1e-30)  # no layer of a family outweighs the others


def _derivatives(tensor: Tensor, slot: Slot) -> Tensor | None:
    if not slot.reads or tensor.grad is None:
        return None
    return per_channel(tensor.detach().double() * tensor.grad.double(), slot)


def _observe(
    network: nn.Module,
    found: dict[tuple[str, Side], list[Tensor]],
    look: Callable[[Tensor, Slot], Tensor | None],
) -> None:
    """Add one observation of every side of every layer."""
    sides: tuple[Side, ...] = ("in", "out", "inner")
    for name, layer in network.named_modules():
        for side in sides:
            if side == "inner" and not isinstance(layer, nn.MultiheadAttention):
                continue
            here = slots(layer, side)
            total = torch.zeros(
                max((slot.start + slot.size for slot in here), default=0), dtype=torch.float64
            )
            for slot in here:
                tensor = tensor_of(layer, slot)
                seen = None if tensor is None else look(tensor, slot)
                if seen is not None:
                    total[slot.start : slot.start + slot.size] += seen.cpu()
            if len(total):
                found.setdefault((name, side), []).append(total)


def atoms(family: Family) -> list[Atom]:
    """The channels of the root, joined wherever they meet in one channel of some member."""
    count = len(family.members[0].channels)
    leader = list(range(count))

    def find(each: int) -> int:
        while leader[each] != each:
            leader[each] = leader[leader[each]]
            each = leader[each]
        return each

    for member in family.members:
        owner: dict[int, int] = {}
        for origin, places in enumerate(member.channels):
            for place in places:
                a, b = find(origin), find(owner.setdefault(place, origin))
                leader[max(a, b)] = min(a, b)
    found: dict[int, list[int]] = {}
    for each in range(count):
        found.setdefault(find(each), []).append(each)
    return [tuple(group) for group in found.values()]


def _places(member: Member, joined: list[Atom]) -> list[list[int]]:
    return [sorted({place for origin in atom for place in member.channels[origin]}) for atom in joined]


def least_important(
    network: nn.Module, family: Family, cut: Cut, share: float, scores: Scores, of: int = 1
) -> list[int]:
    """The channels of the family's root that go.

    Where a layer's channels are in parts that must stay equal, such as groups, each part loses as many.
    ``of`` is a number that what stays must be a multiple of, where there are no such parts.
    """
    joined = atoms(family)
    importance = scores.of(family, joined)
    kinds: dict[tuple[object, ...], list[int]] = {}
    for number, kind in enumerate(_kinds(network, family, joined)):
        kinds.setdefault(kind, []).append(number)
    gone: list[int] = []
    for members in kinds.values():
        apiece = len(kinds) * len(joined[members[0]])
        kept = cut.kept(len(members), share, apiece, of // math.gcd(of, apiece))
        order = torch.argsort(importance[members], descending=True, stable=True)
        gone += [origin for index in order[kept:].tolist() for origin in joined[members[index]]]
    return sorted(gone)


def _kinds(network: nn.Module, family: Family, joined: list[Atom]) -> list[tuple[object, ...]]:
    """For each atom, in which parts of the members it lies; atoms of one kind may stand for one another."""
    kinds: list[list[object]] = [[len(atom)] for atom in joined]
    for parts in family.parts:
        for kind, atom in zip(kinds, joined, strict=True):
            kind.append(tuple(sorted(parts[origin] for origin in atom)))
    for member in family.members:
        if member.dim is not None:
            continue
        layer = network.get_submodule(member.name)
        divisor = equal_parts(layer, member.side)
        if divisor == 1:
            continue
        size = max(slot.start + slot.size for slot in slots(layer, member.side)) // divisor
        for kind, places in zip(kinds, _places(member, joined), strict=True):
            kind.append(tuple(place // size for place in places))
    return [tuple(kind) for kind in kinds]


def least_important_heads(family: Family, heads: int, share: float, scores: Scores) -> list[int]:
    """The channels of the whole heads that go, of a family that is the inside of attention."""
    importance = scores.of(family, atoms(family)).unflatten(0, (heads, -1)).sum(1)
    kept = max(math.floor(share * heads + 0.5), 1)
    gone = set(torch.argsort(importance, descending=True, stable=True)[kept:].tolist())
    return [origin for origin, head in enumerate(family.parts[0]) if head in gone]


def removal_of(
    network: nn.Module, family: Family, gone: Iterable[int], scores: Scores, heads: str = "narrow"
) -> Removal:
    """What goes with these channels of a family's root; ``heads`` as :class:`Cut` has it."""
    gone = list(gone)
    removal = Removal()
    for member in family.members:
        places = {place for origin in gone for place in member.channels[origin]}
        if member.dim is not None:
            removal.add(Removal(parameters={member.name: (member.dim, places)}))
            continue
        removal.add(Removal({(member.name, member.side): places}))
        layer = network.get_submodule(member.name)
        if isinstance(layer, nn.MultiheadAttention):
            count = len(removal.layers[member.name, member.side])
            whole = heads == "remove" and count % layer.head_dim == 0
            removal.layers[member.name, "inner"] = _inner(layer, member.name, count, scores, whole)
            if whole:
                removal.sizes[member.name, "num_heads"] = layer.num_heads - count // layer.head_dim
    return removal


def _inner(layer: nn.MultiheadAttention, name: str, count: int, scores: Scores, whole: bool) -> set[int]:
    """The ``count`` least important channels inside of attention: of whole heads, or as many of each."""
    heads, size = layer.num_heads, layer.head_dim
    importance = scores.combined(scores.values[name, "inner"]).unflatten(0, (heads, size))
    if whole:
        gone = torch.argsort(importance.sum(1), descending=True, stable=True)[heads - count // size :]
        return {head * size + place for head in gone.tolist() for place in range(size)}
    order = torch.argsort(importance, dim=1, descending=True, stable=True)[:, size - count // heads :]
    return {head * size + int(index) for head in range(heads) for index in order[head]}
