"""What must be true of a family of layers before it is tried to cut it."""

from __future__ import annotations

from torch import nn

from trainables.slicing.graph import Family, Member
from trainables.slicing.slots import channels_of, slots


def check_family(network: nn.Module, family: Family) -> str | None:
    """Why ``family`` cannot be cut, as half a sentence; None where nothing speaks against it.

    Layers whose channels have no size of their own, such as a PReLU with one slope, leave the family.
    """
    family.members = [member for member in family.members if not _is_indifferent(network, member)]
    for member in family.members:
        problem = _problem(network, member)
        if problem is not None:
            return f"{member.name} {problem}"
    return None


def _is_indifferent(network: nn.Module, member: Member) -> bool:
    if member.dim is not None:
        return False
    layer = network.get_submodule(member.name)
    return isinstance(layer, nn.PReLU) and layer.num_parameters == 1


def _problem(network: nn.Module, member: Member) -> str | None:
    if member.dim is not None:
        size = network.get_parameter(member.name).shape[member.dim]
    else:
        layer = network.get_submodule(member.name)
        size = channels_of(layer, member.side)
        if not size:
            return "is of a kind whose channels are not known"
        if isinstance(layer, nn.RNNBase) and layer.proj_size:
            return "projects its hidden state"
        if isinstance(layer, nn.MultiheadAttention) and not _is_plain(layer):
            return "has keys or values of their own"
        for slot in slots(layer, member.side):
            owner, _, name = slot.tensor.rpartition(".")
            module = layer.get_submodule(owner)
            if getattr(module, name, None) is not None and name not in {
                **module._parameters,
                **module._buffers,
            }:
                return f"computes its {name}"
    if any(not 0 <= place < size for places in member.channels for place in places):
        return "is reached by channels that it does not have"
    return None


def _is_plain(layer: nn.MultiheadAttention) -> bool:
    return layer.in_proj_weight is not None and layer.bias_k is None and not layer.add_zero_attn
