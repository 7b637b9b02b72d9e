"""Channels that no layer of a network reads any more: they can be taken out, and nothing changes."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from trainables.calling import Inputs, mapped
from trainables.folding import is_foldable
from trainables.modes import evaluating
from trainables.slicing.changes import NotSliceable
from trainables.slicing.choice import Scores, atoms, removal_of
from trainables.slicing.graph import Family, Member, families
from trainables.slicing.removal import tensor_of
from trainables.slicing.shapes import FOLDED
from trainables.slicing.slots import equal_parts, is_depthwise, slots
from trainables.slicing.sound import check_family
from trainables.slicing.trial import fault
from trainables.ties import aliases

KNOWN = (_ConvNd, nn.Linear, _NormBase, nn.PReLU)
"""Layers in which a channel counts for itself alone. Normalisation over channels divides by their number."""

SAMPLES = 2
Left = Mapping[int, Tensor]
"""By dimension of a tensor, the indices that stay: int64, ascending."""


class Unread:
    """Finds them, in a network whose families of channels are known since before its weights were compressed.

    Args:
        network: plain; stays as it is.
        inputs: of a batch, of which the first samples are looked at.
    """

    def __init__(self, network: nn.Module, inputs: Inputs) -> None:
        inputs = mapped(lambda tensor: tensor[:SAMPLES], inputs)
        self._families: list[Family] = []
        try:
            found, _ = families(network, inputs)
        except NotSliceable:  # then all its channels ship
            found = []
        tied = {name.rpartition(".")[0] for pair in aliases(network).items() for name in pair}
        with evaluating(network):
            for family in found:
                if self._can_lose(network, family, tied, inputs):
                    self._families.append(family)
        self._network = copy.deepcopy(network).to("meta")

    def _can_lose(self, network: nn.Module, family: Family, tied: set[str], inputs: Inputs) -> bool:
        if family.is_output or family.problem or check_family(network, family) is not None:
            return False
        for member in family.members:
            layer = None if member.dim is not None else network.get_submodule(member.name)
            if not isinstance(layer, KNOWN) or isinstance(layer, _ConvTransposeNd) or member.name in tied:
                return False
            if equal_parts(layer, member.side) > 1:
                return False
        if not any(_reads(network, member) for member in family.members):
            return False
        joined = atoms(family)
        half = [origin for atom in joined[: len(joined) // 2] for origin in atom]
        return (
            bool(half) and fault(network, removal_of(network, family, half, Scores("l1", {})), inputs) is None
        )

    def left(self, read: Mapping[str, Tensor]) -> dict[str, Left]:
        """What stays of each tensor that loses something, by its name; of folded normalisation, too.

        Args:
            read: by the name of a weight, which of its layer's channels are read, bool; others are all read.
        """
        gone: dict[str, dict[int, set[int]]] = {}
        for family in self._families:
            readers = [member for member in family.members if _reads(self._network, member)]
            unread = [atom for atom in atoms(family) if all(_is_unread(each, atom, read) for each in readers)]
            channels = [origin for atom in unread for origin in atom]
            removal = removal_of(self._network, family, channels, Scores("l1", {}))
            for (name, side), places in removal.layers.items():
                layer = self._network.get_submodule(name)
                for slot in slots(layer, side):
                    own = () if tensor_of(layer, slot) is None else (slot.tensor,)
                    for tensor in (*own, *(FOLDED if is_foldable(layer) else ())):
                        here = gone.setdefault(f"{name}.{tensor}" if name else tensor, {})
                        here.setdefault(slot.dim, set()).update(slot.indices(places))
        return {name: self._staying(name, dims) for name, dims in gone.items() if any(dims.values())}

    def _staying(self, name: str, dims: Mapping[int, set[int]]) -> Left:
        owner, _, own = name.rpartition(".")
        layer = self._network.get_submodule(owner)
        shape = (layer.num_features,) if is_foldable(layer) else getattr(layer, own).shape
        return {
            dim: torch.tensor([index for index in range(shape[dim]) if index not in gone], dtype=torch.int64)
            for dim, gone in dims.items()
        }


def _reads(network: nn.Module, member: Member) -> bool:
    layer = network.get_submodule(member.name)
    return member.side == "in" and isinstance(layer, (_ConvNd, nn.Linear)) and not is_depthwise(layer)


def _is_unread(reader: Member, atom: tuple[int, ...], read: Mapping[str, Tensor]) -> bool:
    known = read.get(f"{reader.name}.weight" if reader.name else "weight")
    places = [place for origin in atom for place in reader.channels[origin]]
    return known is not None and not bool(known[places].any())
