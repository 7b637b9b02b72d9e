"""Attention that a network computes by itself, from queries, keys and values of linear layers.

Its heads are hidden in a reshape, in which Torch-Pruning cannot follow single channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from trainables.slicing.graph import Family, Member
from trainables.slicing.slots import channels_of

MIXING = ("Softmax", "Attention", "Bmm")
"""In the names of operations by which attention is known."""
WIDTHS = ("dim", "size", "width")
"""In the names of attributes that say how wide a head is."""


@dataclass(frozen=True)
class Heads:
    """One reading of a family as attention.

    Attributes:
        family: the channels of the heads; its root is the layer that makes the queries.
        heads: how many there are.
        queries: the layer that makes the queries, and the channels of each head's.
        output: the linear layer that reads what the heads give.
    """

    family: Family
    heads: int
    queries: tuple[str, tuple[int, ...]]
    output: str


def readings(network: nn.Module, family: Family) -> Iterator[Heads]:
    """How ``family`` may be the inside of attention; nothing if it does not look like it."""
    if family.is_output or not any(part in each for part in MIXING for each in family.operations):
        return
    linear = [m for m in family.members if isinstance(_module(network, m), nn.Linear)]
    makers = sorted({m.name for m in linear if m.side == "out"}, key=[m.name for m in linear].index)
    readers = {m.name for m in linear if m.side == "in"}
    if len(linear) != len(family.members) or len(readers) != 1 or len(makers) not in (1, 3):
        return
    reader = readers.pop()
    size = channels_of(network.get_submodule(reader), "in")
    outs = {channels_of(network.get_submodule(name), "out") for name in makers}
    if outs != {size if len(makers) == 3 else 3 * size}:
        return
    for heads in _numbers_of_heads(network, makers[0], size):
        for first in (True, False) if len(makers) == 1 else (True,):
            for queries in makers:
                yield _reading(family.root, makers, reader, queries, heads, size, first)


def _reading(
    root: str, makers: list[str], reader: str, queries: str, heads: int, size: int, parts_first: bool
) -> Heads:
    """``parts_first``: whether one layer that makes all three makes the queries of all heads first."""
    each = size // heads
    across = [(head, place) for head in range(heads) for place in range(each)]
    parts = 3 if len(makers) == 1 else 1

    def channel(part: int, head: int, place: int) -> int:
        return ((part * heads + head) if parts_first else (head * parts + part)) * each + place

    made = tuple(tuple(channel(part, head, place) for part in range(parts)) for head, place in across)
    members = [Member(name, "out", made) for name in makers]
    members.append(Member(reader, "in", tuple((head * each + place,) for head, place in across)))
    inside = Family(root, members, [tuple(head for head, _ in across)])
    return Heads(inside, heads, (queries, tuple(channel(0, head, place) for head, place in across)), reader)


def _module(network: nn.Module, member: Member) -> nn.Module | None:
    return None if member.dim is not None else network.get_submodule(member.name)


def _numbers_of_heads(network: nn.Module, name: str, size: int) -> list[int]:
    """What the modules around a layer call their number of heads, those nearest to it first."""
    found: list[int] = []
    while name:
        name = name.rpartition(".")[0]
        for attribute, value in vars(network.get_submodule(name)).items():
            is_number = "head" in attribute and not any(
                word in attribute for word in ("dim", "size", "width")
            )
            if is_number and type(value) is int and value > 0 and size % value == 0:
                found.append(value)
    return list(dict.fromkeys(found))
