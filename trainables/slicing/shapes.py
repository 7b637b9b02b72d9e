"""A network made into the shape of a slice, from the shapes of the slice's tensors alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.conv import _ConvNd

from trainables.foreign import shown
from trainables.slicing.changes import Changes

FOLDED = ("scale", "shift")
"""What is left of a batch normalisation in a packed file, see :mod:`trainables.folding`."""

Shape = tuple[int, ...]


def reshape(network: nn.Module, changes: Changes, shapes: Mapping[str, Shape]) -> nn.Module:
    """Make ``network`` into the shape of a slice of it, in place; its weights become zeros.

    Everything is checked before anything is changed, and nothing ever becomes larger than it was.

    Args:
        network: of the class that was sliced, unsliced; may be on the meta device.
        changes: as :func:`trainables.slicing.slicing.sliced` gave them.
        shapes: of the slice's tensors by their names in its ``state_dict``. A batch normalisation ``bn`` may
            appear as ``bn.scale`` and ``bn.shift``; of a tensor with several names one is enough.

    Returns:
        ``network``.

    Raises:
        ValueError: a shape or a change does not fit this network; the message names it.
    """
    _check_changes(network, changes)
    tensors = {
        name: tensor
        for name, tensor in network.state_dict(keep_vars=True).items()
        if not any(name.startswith(f"{block}.") for block in changes.dropped)
    }
    wanted = _wanted(network, tensors, shapes)
    for name in changes.dropped:
        _set_child(network, name, nn.Identity())
    done: set[int] = set()
    for name, tensor in tensors.items():
        if id(tensor) not in done and tuple(tensor.shape) != wanted[name]:
            same = [other for other, each in tensors.items() if each is tensor]
            replace_tensor(network, same, torch.zeros(wanted[name], dtype=tensor.dtype, device=tensor.device))
        done.add(id(tensor))
    for name, attribute, value in changes.sizes:
        set_size(network.get_submodule(name), attribute, value)
    for name, module in network.named_modules():
        try:
            settle(module)
        except ValueError as error:
            raise ValueError(f"{name or 'the network'}: {error}") from None
    return network


def _check_changes(network: nn.Module, changes: Changes) -> None:
    modules = dict(network.named_modules())
    for name in changes.dropped:
        if name not in modules:
            raise ValueError(f"the network has no block {shown(name)!r} that could have been dropped")
    for name, attribute, value in changes.sizes:
        old = size_of(modules[name], attribute) if name in modules else None
        if old is None:
            raise ValueError(f"the network has no size {shown(attribute)!r} at {shown(name)!r}")
        if value > old:
            raise ValueError(f"{shown(name)}.{shown(attribute)} must be at most {old}, got {value}")


def _wanted(
    network: nn.Module, tensors: Mapping[str, Tensor], shapes: Mapping[str, Shape]
) -> dict[str, Shape]:
    """The new shape of every tensor, checked."""
    given = dict(shapes)
    for name, module in network.named_modules(remove_duplicate=False):
        start = f"{name}." if name else ""
        if isinstance(module, _BatchNorm) and any(start + part in given for part in FOLDED):
            found = {given.pop(start + part, None) for part in FOLDED}
            shape = found.pop()
            if found or shape is None:
                raise ValueError(f"{start}scale and {start}shift must have one shape")
            for part in ("weight", "bias", "running_mean", "running_var"):
                if start + part in tensors:
                    given[start + part] = shape
            if start + "num_batches_tracked" in tensors:
                given[start + "num_batches_tracked"] = ()
    odd = sorted(given.keys() - tensors.keys())
    if odd:
        raise ValueError(f"the network has no tensor {shown(odd[0])!r}")
    by_tensor: dict[int, tuple[str, Shape]] = {}
    for name, shape in given.items():
        first, other = by_tensor.setdefault(id(tensors[name]), (name, tuple(shape)))
        if tuple(shape) != other:
            raise ValueError(f"{first} and {name} are one tensor and must have one shape")
        _check_shape(name, tuple(tensors[name].shape), tuple(shape))
    missing = [name for name, tensor in tensors.items() if id(tensor) not in by_tensor]
    if missing:
        raise ValueError(f"the shape of {missing[0]} is missing")
    return {name: by_tensor[id(tensor)][1] for name, tensor in tensors.items()}


def _check_shape(name: str, old: Shape, new: Shape) -> None:
    fits = len(old) == len(new) and all(
        type(b) is int and min(a, 1) <= b <= a for a, b in zip(old, new, strict=True)
    )
    if not fits:
        raise ValueError(f"{name} must have a shape of at most {old} and at least 1, got {new}")


def replace_tensor(network: nn.Module, names: Iterable[str], value: Tensor) -> None:
    """Put ``value`` in place of the one parameter or buffer that has these names."""
    new: Tensor | None = None
    for name in names:
        owner, _, own = name.rpartition(".")
        module = network.get_submodule(owner)
        old = getattr(module, own)
        if new is None:
            new = nn.Parameter(value, old.requires_grad) if isinstance(old, nn.Parameter) else value
        setattr(module, own, new)


def _set_child(network: nn.Module, name: str, child: nn.Module) -> None:
    old = network.get_submodule(name)
    for parent in list(network.modules()):
        for own, module in list(parent.named_children()):
            if module is old:
                setattr(parent, own, child)


def drop(network: nn.Module, names: Iterable[str]) -> None:
    """Replace blocks, in place, by modules that do nothing."""
    for name in names:
        _set_child(network, name, nn.Identity())


def size_of(module: nn.Module, attribute: str) -> int | None:
    """A size that a module keeps for itself, of a tuple the last; None where it has none of this name."""
    value = module.__dict__.get(attribute)
    if isinstance(value, tuple) and value:
        value = value[-1]
    return value if type(value) is int else None


def set_size(module: nn.Module, attribute: str, value: int) -> None:
    """Change a size that :func:`size_of` finds."""
    old = getattr(module, attribute)
    setattr(module, attribute, (*old[:-1], value) if isinstance(old, tuple) else value)


def settle(module: nn.Module) -> None:
    """Set what a module keeps of its sizes, in place, to what its tensors have.

    Raises:
        ValueError: its tensors do not fit one another.
    """
    if isinstance(module, _ConvNd):
        _settle_convolution(module)
    elif isinstance(module, nn.Linear) and "weight" in module._parameters:
        module.out_features, module.in_features = module.weight.shape
        _check_sizes(module, module.out_features, "bias")
    elif isinstance(module, nn.Embedding):
        module.num_embeddings, module.embedding_dim = module.weight.shape
        if module.padding_idx is not None and module.padding_idx >= module.num_embeddings:
            raise ValueError(f"padding_idx={module.padding_idx} needs more rows of weight")
    elif isinstance(module, _NormBase):
        names = ("weight", "bias", "running_mean", "running_var")
        module.num_features = _one_size(module, names, module.num_features)
    elif isinstance(module, nn.GroupNorm):
        module.num_channels = _one_size(module, ("weight", "bias"), module.num_channels)
        if module.num_channels % module.num_groups:
            raise ValueError(f"{module.num_channels} channels do not make {module.num_groups} groups")
    elif isinstance(module, (nn.LayerNorm, nn.RMSNorm)):
        if module.weight is not None:
            module.normalized_shape = tuple(module.weight.shape)
    elif isinstance(module, nn.PReLU):
        module.num_parameters = module.weight.shape[0]
    elif isinstance(module, nn.RNNBase):
        _settle_recurrent(module)
    elif isinstance(module, nn.MultiheadAttention):
        _settle_attention(module)


def _settle_convolution(layer: _ConvNd) -> None:
    weight = layer._parameters.get("weight")
    if weight is None:  # computed from something else
        return
    if layer.groups == layer.in_channels == layer.out_channels > 1:
        layer.groups = layer.in_channels = layer.out_channels = weight.shape[0]
    else:
        first, second = weight.shape[0], weight.shape[1] * layer.groups
        layer.in_channels, layer.out_channels = (first, second) if layer.transposed else (second, first)
    if weight.shape[0] % layer.groups:
        raise ValueError(f"weight of shape {tuple(weight.shape)} does not make {layer.groups} groups")
    _check_sizes(layer, layer.out_channels, "bias")


def _settle_recurrent(layer: nn.RNNBase) -> None:
    tensors = dict(layer.named_parameters())
    layer.input_size, layer.hidden_size = (
        tensors[name].shape[1] for name in ("weight_ih_l0", "weight_hh_l0")
    )
    if layer.proj_size:
        return
    gates = {"LSTM": 4, "GRU": 3}.get(layer.mode, 1) * layer.hidden_size
    deeper = layer.hidden_size * (1 + layer.bidirectional)
    for name, tensor in tensors.items():
        wanted: Shape = (gates,)
        if name.startswith("weight_hh"):
            wanted = (gates, layer.hidden_size)
        elif name.startswith("weight_ih"):
            wanted = (gates, layer.input_size if "_l0" in name else deeper)
        if tuple(tensor.shape) != wanted:
            raise ValueError(f"{name} must have the shape {wanted}, got {tuple(tensor.shape)}")


def _settle_attention(layer: nn.MultiheadAttention) -> None:
    weight = layer._parameters.get("in_proj_weight")
    if weight is None:  # keys or values of another size: not cut
        return
    size = weight.shape[1]
    if weight.shape[0] != 3 * size or tuple(layer.out_proj.weight.shape) != (size, size):
        raise ValueError(f"in_proj_weight of shape {tuple(weight.shape)} does not fit out_proj")
    if size % layer.num_heads:
        raise ValueError(f"{size} channels do not make {layer.num_heads} heads")
    _check_sizes(layer, 3 * size, "in_proj_bias")
    layer.embed_dim = layer.kdim = layer.vdim = size
    layer.head_dim = size // layer.num_heads


def _one_size(module: nn.Module, names: Iterable[str], otherwise: int) -> int:
    sizes = {tensor.shape[0] for name in names if (tensor := getattr(module, name)) is not None}
    if len(sizes) > 1:
        raise ValueError(f"its tensors must have one size, got {sorted(sizes)}")
    return sizes.pop() if sizes else otherwise


def _check_sizes(module: nn.Module, size: int, name: str) -> None:
    tensor = getattr(module, name)
    if tensor is not None and tensor.shape[0] != size:
        raise ValueError(f"{name} must have {size} elements, got {tensor.shape[0]}")
