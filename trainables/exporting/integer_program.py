"""Programs whose layers multiply in 8-bit integers, in the form that ExecuTorch and LiteRT take for it."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, fx

from trainables.exporting.integer_weight import (
    LARGEST_LEVEL,
    IntegerWeight,
    ValueKey,
    columns_of,
    known_weights,
    scaled_by,
    spread_over,
    value_key,
)
from trainables.exporting.programs import DEQUANTIZE, DEQUANTIZE_CHANNELS, QUANTIZE, QUANTIZE_CHANNELS
from trainables.quantizers.base import Stored

_ATEN = torch.ops.aten
LAYERS = (_ATEN.conv1d.default, _ATEN.conv2d.default, _ATEN.conv3d.default, _ATEN.linear.default)
_RELUS = (_ATEN.relu.default, _ATEN.relu_.default)
ACTIVATIONS = (
    *_RELUS,
    _ATEN.relu6.default,
    _ATEN.hardtanh.default,
    _ATEN.hardtanh_.default,
)
VIEWS = (_ATEN.view.default, _ATEN.reshape.default)
MOVING = (
    _ATEN.max_pool1d.default,
    _ATEN.max_pool2d.default,
    _ATEN.flatten.using_ints,
    _ATEN.permute.default,
    _ATEN.slice.Tensor,
    _ATEN.transpose.int,
    *VIEWS,
)
"""What comes out of these is values that went in, so that quantizing before them is quantizing after them."""
_AFFINE = ((_ATEN.mul.Tensor, _ATEN.mul_.Tensor), (_ATEN.add.Tensor, _ATEN.add_.Tensor))


class Counted(NamedTuple):
    """How many of the convolutions and linear layers of a program are integers."""

    integer: int
    layers: int

    def words(self) -> str:
        """For who exports."""
        if not self.integer:
            return "weights in float32"
        rest = "" if self.integer == self.layers else ", the others float32"
        return f"int8 in {self.integer} of {self.layers} convolutions and linear layers{rest}"


def to_integer_program(
    module: fx.GraphModule, tensors: Mapping[str, Stored], *, levels: bool = True
) -> Counted:
    """Write layers of ``module`` as 8-bit integers where they can be, in place.

    These are convolutions and linear layers whose weights are 8-bit integers with one scale per tensor or
    output channel, whose input is quantized, and whose output is quantized too, at most behind ReLU. What
    normalisation was folded into is multiplied into the layers before it, also where they stay float32.

    Args:
        module: of :meth:`torch.export.ExportedProgram.module`, traced with
            :class:`~trainables.exporting.programs.SignedLevels`.
        tensors: of the network as the packed file holds them.
        levels: store weights as int8; otherwise as float32 that is quantized in front of its layer, which
            some converters ask for and compute themselves.
    """
    return _Rewriting(module, known_weights(tensors), levels).run()


class _Rewriting:
    def __init__(self, module: fx.GraphModule, known: Mapping[ValueKey, IntegerWeight], levels: bool) -> None:
        self._module = module
        self._graph = module.graph
        self._known = known
        self._levels = levels
        self._made = 0

    def run(self) -> Counted:
        self._merge_equal()
        self._repeat_upwards()
        self._merge_equal()
        self._part_users()
        self._clip_once()
        layers = [node for node in self._graph.nodes if node.target in LAYERS]
        integer = sum(self._rewrite(layer) for layer in layers)
        self._graph.eliminate_dead_code()
        self._graph.lint()
        self._module.recompile()
        self._module.delete_all_unused_submodules()
        return Counted(integer, len(layers))

    def _merge_equal(self) -> None:
        """Keep one of several quantizations of one tensor that give the same."""
        first: dict[object, fx.Node] = {}
        for node in [node for node in self._graph.nodes if node.target in (QUANTIZE, DEQUANTIZE)]:
            kept = first.setdefault((node.target, node.args), node)
            if kept is not node:
                node.replace_all_uses_with(kept)
                self._graph.erase_node(node)

    def _repeat_upwards(self) -> None:
        """Quantize before max-pooling and reordering, too, so that the layer before them is integer."""
        for node in [node for node in self._graph.nodes if node.target is QUANTIZE]:
            moving, how = node.args[0], node.args[1:]
            while _moves_values(moving) and _only_user(moving) is not None:
                source = moving.args[0]
                with self._graph.inserting_before(moving):
                    level = self._graph.call_function(QUANTIZE, (source, *how))
                    moving.replace_input_with(source, self._graph.call_function(DEQUANTIZE, (level, *how)))
                moving = source

    def _part_users(self) -> None:
        """Dequantize for each user apart: runtimes look for a dequantizer that one layer alone reads."""
        for node in [node for node in self._graph.nodes if node.target is DEQUANTIZE]:
            for user in list(node.users)[1:]:
                with self._graph.inserting_after(node):
                    own = self._graph.call_function(DEQUANTIZE, node.args)
                user.replace_input_with(node, own)

    def _clip_once(self) -> None:
        """Make one of ReLU and the clipping to a grid behind it, as a layer can take only one along."""
        for node in [node for node in self._graph.nodes if node.target is _ATEN.hardtanh.default]:
            before = node.args[0]
            if before.target not in _RELUS or _only_user(before) is None:
                continue
            low, high = node.args[1:3]
            node.args = (before.args[0], max(low, 0.0), max(high, 0.0))
            self._graph.erase_node(before)

    def _rewrite(self, layer: fx.Node) -> bool:
        """Fold what comes behind ``layer`` into it; whether it is integers now."""
        values = self._constant(layer.args[1])
        if values is None:
            return False
        weight = self._known.get(value_key(values.numpy()))
        scale, shift = self._take_affine(layer)
        bias = self._constant(layer.args[2]) if len(layer.args) > 2 else None
        changed = scale is not None or shift is not None
        if changed:
            scale = torch.ones(len(values)) if scale is None else scale
            shift = torch.zeros(len(values)) if shift is None else shift
            values = values * scale.view(-1, *(1,) * (values.dim() - 1))
            bias = shift if bias is None else bias * scale + shift
            weight = None if weight is None else scaled_by(weight, scale.double().numpy())
        if weight is not None and _source_is_quantized(layer) and _goes_quantized(layer):
            with self._graph.inserting_before(layer):
                self._set(layer, self._dequantized(spread_over(weight, LARGEST_LEVEL)), bias)
            return True
        if changed:
            with self._graph.inserting_before(layer):
                self._set(layer, self._stored(values.contiguous()), bias)
        return False

    def _take_affine(self, layer: fx.Node) -> tuple[Tensor | None, Tensor | None]:
        """What the output of ``layer`` alone is multiplied by, and what is added, by channel; taken out."""
        found: list[Tensor | None] = []
        for targets in _AFFINE:
            after, values = _only_user(layer), None
            if after is not None and after.target in targets and len(after.args) == 2 and not after.kwargs:
                other = after.args[1] if after.args[0] is layer else after.args[0]
                values = self._by_channel(other, layer)
                if values is not None:
                    after.replace_all_uses_with(layer)
                    self._graph.erase_node(after)
            found.append(values)
        return found[0], found[1]

    def _by_channel(self, node: Any, layer: fx.Node) -> Tensor | None:
        """A constant that is one number per channel of what ``layer`` gives; None if it is none."""
        values = self._constant(node)
        shape = layer.meta["val"].shape
        axis = len(shape) - 1 if layer.target is _ATEN.linear.default else 1
        wanted = [1] * len(shape)
        wanted[axis] = int(shape[axis])
        if values is None or [1] * (len(shape) - values.dim()) + list(values.shape) != wanted:
            return None
        return values.reshape(-1)

    def _constant(self, node: Any) -> Tensor | None:
        """The value of a stored tensor, or of one that is only given another shape."""
        if not isinstance(node, fx.Node):
            return None
        if node.op == "get_attr":
            found = operator.attrgetter(str(node.target))(self._module)
            return found.detach() if isinstance(found, Tensor) else None
        if node.target in VIEWS:
            inner = self._constant(node.args[0])
            return None if inner is None else inner.reshape(cast(Any, node.args[1]))
        return None

    def _set(self, layer: fx.Node, weight: fx.Node, bias: Tensor | None) -> None:
        given = list(layer.args)
        given[1] = weight
        if bias is not None:
            given[2:3] = [self._stored(bias)]
        layer.args = tuple(given)

    def _dequantized(self, weight: IntegerWeight) -> fx.Node:
        """``weight`` as a node: levels in int8, and a scale by output channel."""
        factors = weight.scale.astype(np.float32)
        scale = self._stored(torch.from_numpy(factors))
        zero = self._stored(torch.zeros(len(factors), dtype=torch.int64))
        how = (scale, zero, 0, -128, 127, torch.int8)
        if self._levels:
            level = self._stored(torch.from_numpy(weight.level.astype(np.int8)))
        else:
            values = weight.level.astype(np.float32) * columns_of(factors, weight.level)
            level = self._graph.call_function(
                QUANTIZE_CHANNELS, (self._stored(torch.from_numpy(values)), *how)
            )
        return self._graph.call_function(DEQUANTIZE_CHANNELS, (level, *how))

    def _stored(self, values: Tensor) -> fx.Node:
        self._made += 1
        name = f"rayduce_{self._made}"
        self._module.register_buffer(name, values)
        return self._graph.get_attr(name)


def _moves_values(node: fx.Node) -> bool:
    """Whether what comes out of ``node`` is values that went in, or zeros, which every grid has."""
    if node.target is _ATEN.pad.default:
        return len(node.args) == 2 and not node.kwargs
    return node.target in MOVING


def _only_user(node: fx.Node) -> fx.Node | None:
    users = list(node.users)
    return users[0] if len(users) == 1 else None


def _source_is_quantized(layer: fx.Node) -> bool:
    source = layer.args[0]
    return isinstance(source, fx.Node) and source.target is DEQUANTIZE


def _goes_quantized(layer: fx.Node) -> bool:
    """Whether what ``layer`` gives is used as integers alone, at most behind ReLU and the like."""
    after = _only_user(layer)
    if after is not None and after.target in ACTIVATIONS:
        after = _only_user(after)
    return after is not None and after.target is QUANTIZE
