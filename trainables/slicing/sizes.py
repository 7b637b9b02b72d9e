"""Sizes that modules keep for themselves and that change when channels are taken out."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from trainables.slicing.attention import WIDTHS
from trainables.slicing.removal import Removal
from trainables.slicing.shapes import size_of
from trainables.slicing.slots import channels_of

WORDS = ("dim", "size", "width", "channel", "feature", "embd", "hidden", "planes", "d_model", "n_embed")
"""In the names of attributes that may be a number of channels."""
OTHERS = ("image", "patch", "kernel", "window", "vocab", "batch", "head", "num_")
"""In the names of those that are another number."""


def sizes_without_tensors(network: nn.Module, removal: Removal) -> dict[tuple[str, str], int]:
    """The new sizes of normalisation that has no tensors to read them off."""
    found = {}
    for (name, side), gone in removal.layers.items():
        layer = network.get_submodule(name)
        if any(True for _ in layer.parameters()) or any(True for _ in layer.buffers()):
            continue
        if isinstance(layer, _NormBase):
            attribute = "num_features"
        elif isinstance(layer, nn.GroupNorm):
            attribute = "num_channels"
        elif isinstance(layer, (nn.LayerNorm, nn.RMSNorm)):
            attribute = "normalized_shape"
        else:
            continue
        found[name, attribute] = channels_of(layer, side) - len(gone)
    return found


def guessed_sizes(network: nn.Module, removal: Removal) -> dict[tuple[str, str], int]:
    """Attributes of modules of foreign classes that are likely to be numbers of channels that change.

    Such an attribute has a name like one, and the value that some side of a layer inside of its module has
    before; all sides of that size inside must change alike. Whether the guess is right shows in the trial.
    """
    changes: list[tuple[str, int, int]] = []
    for (name, side), gone in removal.layers.items():
        if side != "inner" and gone:
            size = channels_of(network.get_submodule(name), side)
            changes.append((name, size, size - len(gone)))
    for name, (dim, gone) in removal.parameters.items():
        size = network.get_parameter(name).shape[dim]
        changes.append((name, size, size - len(gone)))
    found = {}
    for name, module in network.named_modules():
        if type(module).__module__.startswith("torch.nn."):
            continue
        inside = [(old, new) for layer, old, new in changes if not name or layer.startswith(f"{name}.")]
        for attribute in vars(module):
            old = size_of(module, attribute)
            fitting = {new for before, new in inside if before == old}
            named = any(w in attribute for w in WORDS) and not any(w in attribute for w in OTHERS)
            if len(fitting) == 1 and not attribute.startswith("_") and named:
                found[name, attribute] = fitting.pop()
    return found


def head_sizes(network: nn.Module, layer: str, old: int, new: int) -> dict[tuple[str, str], int]:
    """Attributes of the modules around ``layer`` that say how wide a head of attention is."""
    return _around(network, layer, old, new, widths=True)


def head_counts(network: nn.Module, layer: str, old: int, new: int) -> dict[tuple[str, str], int]:
    """Attributes of the modules around ``layer`` that say how many heads attention has."""
    return _around(network, layer, old, new, widths=False)


def _around(
    network: nn.Module, layer: str, old: int, new: int, *, widths: bool
) -> dict[tuple[str, str], int]:
    found = {}
    name = layer
    while name:
        name = name.rpartition(".")[0]
        module = network.get_submodule(name)
        for attribute in vars(module):
            is_width = any(word in attribute for word in WIDTHS)
            named = "head" in attribute and is_width == widths and not attribute.startswith("_")
            if named and size_of(module, attribute) == old:
                found[name, attribute] = new
    return found
