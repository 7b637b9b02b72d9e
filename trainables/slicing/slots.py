"""Where the channels of a layer lie in its tensors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

Side = Literal["in", "out", "inner"]
"""Of a layer: the channels it reads, those it gives, and those of the heads of attention."""

GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


class Slot(NamedTuple):
    """Where one tensor of a layer has the channels ``start`` to ``start + size`` of one side.

    Attributes:
        tensor: its name within the layer.
        dim: along which they lie.
        start: the first of the channels that the tensor has.
        size: how many.
        repeated: how often they lie there one after another, as the gates of an LSTM do.
        groups: of a convolution: dimension ``dim`` has ``size / groups`` indices, and in each of so many
            groups of rows they stand for other channels.
        reads: whether the tensor multiplies the channels, so that zeros in it are as good as their absence.
    """

    tensor: str
    dim: int
    start: int
    size: int
    repeated: int = 1
    groups: int = 1
    reads: bool = False

    def indices(self, channels: Iterable[int]) -> Iterator[int]:
        """Where in ``dim`` these channels are; of a convolution in groups, counted through all groups."""
        here = [each - self.start for each in channels if self.start <= each < self.start + self.size]
        for block in range(self.repeated):
            yield from (block * self.size + each for each in here)


def is_depthwise(layer: nn.Module) -> bool:
    """Whether each channel of a convolution is filtered for itself."""
    return isinstance(layer, _ConvNd) and layer.groups == layer.in_channels == layer.out_channels > 1


def slots(layer: nn.Module, side: Side) -> list[Slot]:
    """Where the channels of one side of ``layer`` lie in its tensors; empty for layers of unknown kinds."""
    if isinstance(layer, _ConvNd):
        return _of_convolution(layer, side)
    if isinstance(layer, nn.Linear):
        if side == "in":
            return [Slot("weight", 1, 0, layer.in_features, reads=True)]
        return [Slot(name, 0, 0, layer.out_features) for name in ("weight", "bias")]
    if isinstance(layer, nn.Embedding):
        return [Slot("weight", 1, 0, layer.embedding_dim)]
    if isinstance(layer, nn.RNNBase):
        return _of_recurrent(layer, side)
    if isinstance(layer, nn.MultiheadAttention):
        return _of_attention(layer, side)
    size = channels_of(layer, side)
    names = ("weight", "bias", "running_mean", "running_var")
    return [Slot(name, 0, 0, size) for name in names] if size else []


def channels_of(layer: nn.Module, side: Side) -> int:
    """How many channels one side of a layer has; 0 for layers of unknown kinds."""
    match layer:
        case _ConvNd():
            return layer.in_channels if side == "in" else layer.out_channels
        case nn.Linear():
            return layer.in_features if side == "in" else layer.out_features
        case nn.Embedding():
            return layer.embedding_dim
        case nn.RNNBase():
            return layer.input_size if side == "in" else layer.hidden_size * (1 + layer.bidirectional)
        case nn.MultiheadAttention():
            return layer.embed_dim
        case _NormBase():  # batch and instance normalisation
            return layer.num_features
        case nn.GroupNorm():
            return layer.num_channels
        case nn.LayerNorm() | nn.RMSNorm():
            return layer.normalized_shape[0] if len(layer.normalized_shape) == 1 else 0
        case nn.PReLU():
            return layer.num_parameters if layer.num_parameters > 1 else 0
    return 0


def equal_parts(layer: nn.Module, side: Side) -> int:
    """Into how many parts, which must stay equal, one side of a layer is divided; 1 is no division."""
    if isinstance(layer, _ConvNd) and not is_depthwise(layer):
        return layer.groups
    if isinstance(layer, nn.GroupNorm):
        return layer.num_groups
    if isinstance(layer, nn.RNNBase) and side == "out":
        return 1 + layer.bidirectional
    if isinstance(layer, nn.MultiheadAttention) and side == "inner":
        return layer.num_heads
    return 1


def _of_convolution(layer: _ConvNd, side: Side) -> list[Slot]:
    if is_depthwise(layer):
        return [Slot(name, 0, 0, layer.out_channels) for name in ("weight", "bias")]
    # The first dimension of a weight is whole, the second one is that of a group.
    first, second = ("in", "out") if layer.transposed else ("out", "in")
    size = channels_of(layer, side)
    found = [Slot("weight", 0 if side == first else 1, 0, size, 1, 1, side == "in")]
    if side == second and layer.groups > 1:
        found = [found[0]._replace(groups=layer.groups)]
    return found + ([Slot("bias", 0, 0, size)] if side == "out" else [])


def _of_recurrent(layer: nn.RNNBase, side: Side) -> list[Slot]:
    directions = ("", "_reverse") if layer.bidirectional else ("",)
    if side == "in":
        return [Slot(f"weight_ih_l0{each}", 1, 0, layer.input_size, reads=True) for each in directions]
    gates, hidden = GATES[layer.mode], layer.hidden_size
    found = []
    for number, direction in enumerate(directions):
        for depth in range(layer.num_layers):
            end = f"_l{depth}{direction}"
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                found.append(Slot(name + end, 0, number * hidden, hidden, gates))
            found.append(Slot("weight_hh" + end, 1, number * hidden, hidden, reads=True))
            if depth:
                found.append(Slot("weight_ih" + end, 1, 0, hidden * len(directions), reads=True))
    return found


def _of_attention(layer: nn.MultiheadAttention, side: Side) -> list[Slot]:
    size = layer.embed_dim
    if side == "inner":
        return [
            Slot("in_proj_weight", 0, 0, size, 3),
            Slot("in_proj_bias", 0, 0, size, 3),
            Slot("out_proj.weight", 1, 0, size, reads=True),
        ]
    return [
        Slot("in_proj_weight", 1, 0, size, reads=True),
        Slot("out_proj.weight", 0, 0, size),
        Slot("out_proj.bias", 0, 0, size),
    ]
