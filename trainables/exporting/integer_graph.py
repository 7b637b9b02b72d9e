"""From a network's ONNX graph with quantized activations to one that runs in 8-bit integers.

ONNX has no file format for a quantized network, only a convention: a tensor on few levels is written as
QuantizeLinear and DequantizeLinear around floating point operations, and a runtime replaces what it finds
between them by integer kernels. ONNX Runtime does so for a convolution or a linear layer whose input, weights
and bias come out of a DequantizeLinear, and, for a convolution, whose output goes into a QuantizeLinear with
at most a ReLU between. This module brings graphs into that shape. What it cannot bring there stays in
float32, and is written so that ONNX Runtime leaves it there: float32 weights of a layer whose input comes out
of a DequantizeLinear it would round to 8 bits per tensor, unasked.

Such integers compute what the student does, but for one thing: a bias is rounded to the unit of the products.
So sums differ by a small part of a step, which now and then moves an activation to the next level.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from trainables.exporting.integer_weight import (
    LARGEST_BIAS,
    LARGEST_LEVEL,
    REDUCED,
    Array,
    IntegerWeight,
    ValueKey,
    coarser,
    columns_of,
    known_weights,
    scaled_by,
    spread_over,
    value_key,
)
from trainables.quantizers.base import Stored

REORDERING = ("Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
MULTIPLYING = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class Outcome:
    """What became of a graph.

    Attributes:
        layers: convolutions and products with a matrix in it.
        integer: of these, those that run in integers.
        rounded: where weights had to be rounded, their float32 values (as :func:`value_key` names them) and
            what they are now.
    """

    layers: int
    integer: int
    rounded: Mapping[ValueKey, NDArray[np.float32]]


def to_integers(exported: ModelProto, tensors: Mapping[str, Stored], *, reduced_range: bool) -> Outcome:
    """Rewrite ``exported``, in place, to multiply in 8-bit integers wherever the student allows it.

    A layer is rewritten if its weights are one of ``tensors`` with evenly spaced levels around zero, one
    scale per tensor or output channel, and its input is quantized; a convolution must also feed a
    quantizer, through normalisation (which is folded in), ReLU and max-pooling at most.

    Weights are recognised by value and not by name, which the exporter changes where it transposes or
    merges tensors.

    Args:
        exported: float32 weights, quantizers of activations as QuantizeLinear and DequantizeLinear.
        tensors: of the student, see :func:`trainables.compression.compressed_weight.stored_tensors`.
        reduced_range: round weights to levels in [-64, 64].
    """
    attributes = [attribute for node in exported.graph.node for attribute in node.attribute]
    if any(attribute.HasField("g") or attribute.graphs for attribute in attributes):
        # Branches and loops read tensors in ways that are not followed here.
        raise ValueError("quantized activations beside control flow cannot be written as integers")
    known = known_weights(tensors)
    graph = _Graph(onnx.shape_inference.infer_shapes(exported).graph, exported.graph)
    graph.give_products_a_bias()
    for kind in ("QuantizeLinear", "Clip"):
        graph.merge_equal(kind)
    graph.raise_quantizers()
    graph.lower_dequantizers()
    layers = [node for node in graph.nodes if node.op_type in MULTIPLYING and graph.is_layer(node)]
    limit = REDUCED if reduced_range else LARGEST_LEVEL
    integer, rounded = 0, {}
    for node in layers:
        key = _layer_to_integers(graph, node, known, limit)
        if key is None:
            graph.keep_float(node)
            continue
        integer += 1
        if reduced_range and np.abs(known[key].level).max() > REDUCED:
            fitted = spread_over(known[key], limit)
            rounded[key] = (fitted.level * columns_of(fitted.scale, fitted.level)).astype(np.float32)
    graph.write()
    return Outcome(len(layers), integer, rounded)


def _layer_to_integers(
    graph: _Graph, node: NodeProto, known: Mapping[ValueKey, IntegerWeight], limit: int
) -> ValueKey | None:
    """The key of the weights that ``node`` now multiplies as integers; None if it is left as it was."""
    incoming = graph.producer(node.input[0])
    if incoming is None or incoming.op_type != "DequantizeLinear" or node.op_type == "ConvTranspose":
        return None
    values = graph.constants[node.input[1]]
    outputs_last = _outputs_last(node)
    key = value_key(values.T if outputs_last else values)
    weight = known.get(key)
    if weight is None:
        return None
    channels = len(weight.scale)
    bias = np.zeros(channels)
    if len(node.input) > 2 and node.input[2]:
        given = graph.constants.get(node.input[2])
        if given is None:
            return None
        bias = bias + given.astype(np.float64)
    end, weight, bias, folded = _normalisation_after(graph, node, weight, bias)
    if node.op_type == "Conv" and not graph.feeds_quantizer(end):
        return None
    weight = spread_over(weight, limit)
    step = float(graph.constants[incoming.input[1]])
    # A bias is stored in the unit of the products, in 32 bits; where it does not fit, the unit must grow.
    weight = coarser(weight, np.maximum(1.0, np.abs(bias) / (step * weight.scale * LARGEST_BIAS)))
    scale = weight.scale.astype(np.float32)
    level = np.minimum(weight.level, LARGEST_LEVEL).astype(np.int8)
    axis = level.ndim - 1 if outputs_last else 0
    node.input[1] = graph.dequantized(level.T if outputs_last else level, scale, axis)
    if node.op_type != "MatMul":
        unit = (np.float32(step) * scale).astype(np.float32)
        stored = graph.dequantized(np.rint(bias / unit).astype(np.int32), unit, 0)
        del node.input[2:]
        node.input.append(stored)
    graph.bypass(folded)
    return key


def _outputs_last(node: NodeProto) -> bool:
    """Whether the weights' last dimension, and not the first, is that of the outputs."""
    transposed = any(a.name == "transB" and a.i for a in node.attribute)
    return node.op_type == "MatMul" or (node.op_type == "Gemm" and not transposed)


def _normalisation_after(
    graph: _Graph, node: NodeProto, weight: IntegerWeight, bias: NDArray[np.float64]
) -> tuple[str, IntegerWeight, NDArray[np.float64], list[NodeProto]]:
    """Fold the multiplications and additions per channel behind ``node`` into its weights and bias.

    Returns the name of the tensor behind them, the new weights and bias, and the nodes that are now void.
    A product of matrices (MatMul) has no bias, so there an addition stays.
    """
    end, folded = node.output[0], []
    # The channels' place in the output, counted from its end.
    place = 1 if node.op_type in ("Gemm", "MatMul") else weight.level.ndim - 1
    while (after := graph.only_consumer(end)) is not None and after.op_type in ("Mul", "Add"):
        if after.op_type == "Add" and node.op_type == "MatMul":
            break
        other = after.input[1] if after.input[0] == end else after.input[0]
        values = graph.constants.get(other)
        numbers = None if values is None else _per_channel(values, len(weight.scale), place)
        if numbers is None:
            break
        if after.op_type == "Mul":
            weight, bias = scaled_by(weight, numbers), bias * numbers
        else:
            bias = bias + numbers
        end = after.output[0]
        folded.append(after)
    return end, weight, bias, folded


def _per_channel(values: Array, channels: int, place: int) -> NDArray[np.float64] | None:
    """``values``, broadcast to one number per channel; None if they vary along another dimension."""
    shape = (1,) * (place - values.ndim) + values.shape
    others = [size for i, size in enumerate(shape) if i != len(shape) - place]
    if shape[len(shape) - place] not in (1, channels) or any(size != 1 for size in others):
        return None
    return np.broadcast_to(values.reshape(-1), (channels,)).astype(np.float64)


class _Graph:
    """A graph's nodes, with who makes and who reads each tensor."""

    def __init__(self, graph: GraphProto, target: GraphProto) -> None:
        """Read ``graph``, which knows its shapes; :meth:`write` changes ``target``."""
        self._graph = target
        self._ranks = {
            value.name: len(value.type.tensor_type.shape.dim)
            for value in (*graph.input, *graph.value_info)
            if value.type.tensor_type.HasField("shape")
        }
        self.nodes: list[NodeProto] = list(graph.node)
        self.constants: dict[str, Array] = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
        for node in self.nodes:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        self._outputs = {output.name for output in graph.output}
        self._made = 0
        # The exporter stores equal tensors once, and gives the others their names by these.
        same = [node for node in self.nodes if node.op_type == "Identity"]
        self.bypass(node for node in same if node.output[0] not in self._outputs)
        self._drop_unused()

    def _drop_unused(self) -> None:
        """Take out nodes that nobody reads: they would count as readers of what they read."""
        while True:
            used = self._outputs | {name for node in self.nodes for name in node.input}
            kept = [node for node in self.nodes if used.intersection(node.output)]
            if len(kept) == len(self.nodes):
                return
            self.nodes = kept

    def producer(self, name: str) -> NodeProto | None:
        return next((node for node in self.nodes if name in node.output), None)

    def consumers(self, name: str) -> list[NodeProto]:
        return [node for node in self.nodes if name in node.input]

    def only_consumer(self, name: str) -> NodeProto | None:
        """The node that alone reads a tensor, and only once; None for an output of the graph."""
        found = self.consumers(name)
        if name in self._outputs or len(found) != 1 or list(found[0].input).count(name) != 1:
            return None
        return found[0]

    def is_layer(self, node: NodeProto) -> bool:
        return node.input[1] in self.constants

    def feeds_quantizer(self, name: str) -> bool:
        """Whether a tensor goes into one QuantizeLinear and nowhere else, through one ReLU at most."""
        after = self.only_consumer(name)
        if after is not None and after.op_type == "Relu":
            after = self.only_consumer(after.output[0])
        return after is not None and after.op_type == "QuantizeLinear"

    def give_products_a_bias(self) -> None:
        """Write products of two matrices, one constant, as Gemm: as such they take a bias along."""
        for node in self.nodes:
            if node.op_type == "MatMul" and self.is_layer(node) and self._ranks.get(node.input[0]) == 2:
                node.op_type = "Gemm"

    def merge_equal(self, kind: str) -> None:
        """Keep one of several nodes of ``kind`` that compute the same from the same tensor."""
        first: dict[object, NodeProto] = {}
        for node in [node for node in self.nodes if node.op_type == kind]:
            others = [self.constants.get(name) for name in node.input[1:]]
            if any(values is None for values in others):
                continue
            facts = [(values.dtype.str, values.tobytes()) for values in others if values is not None]
            kept = first.setdefault((node.input[0], *facts), node)
            if kept is not node:
                self._replace_uses(node.output[0], kept.output[0])
                self.nodes.remove(node)

    def raise_quantizers(self) -> None:
        """Quantize before max-pooling and reordering and not after them, which is the same.

        So a quantizer comes to stand behind the layer that computes its input.
        """
        for quantizer in [node for node in self.nodes if node.op_type == "QuantizeLinear"]:
            while (before := self.producer(quantizer.input[0])) is not None:
                if before.op_type not in ("MaxPool", *REORDERING) or len(before.output) != 1:
                    break
                if self.only_consumer(before.output[0]) is None:
                    break
                self._swap(before, quantizer)

    def lower_dequantizers(self) -> None:
        """Take pixels and pad with zeros before dequantizing and not after it, which is the same.

        So a dequantizer comes to stand before the layer or the sum that reads its output.
        """
        for dequantizer in [node for node in self.nodes if node.op_type == "DequantizeLinear"]:
            self._lower(dequantizer)

    def _lower(self, dequantizer: NodeProto) -> None:
        source, output = dequantizer.input[0], dequantizer.output[0]
        if source in self.constants or output in self._outputs:
            return
        for after in self.consumers(output):
            result = after.output[0]
            if not self._moves_values(after) or result in self._outputs:
                continue
            if after.input[0] != output or list(after.input).count(output) != 1:
                continue
            after.input[0] = source
            if after.op_type == "Pad":
                del after.input[2:]
                after.input.append(dequantizer.input[2])
            raw, value = self._name(), self._name()
            after.output[0] = raw
            lowered = helper.make_node("DequantizeLinear", [raw, *dequantizer.input[1:]], [value], name=value)
            self.nodes.append(lowered)
            self._replace_uses(result, value)
            self._lower(lowered)
        if not self.consumers(output):
            self.nodes.remove(dequantizer)

    def _moves_values(self, node: NodeProto) -> bool:
        """Whether what comes out of ``node`` is values that went in, or zeros."""
        if node.op_type != "Pad":
            return node.op_type in ("Slice", "MaxPool", *REORDERING) and len(node.output) == 1
        constant = all(a.s == b"constant" for a in node.attribute if a.name == "mode")
        value = self.constants.get(node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(())
        return constant and len(node.input) < 4 and value is not None and not value.any()

    def _swap(self, before: NodeProto, after: NodeProto) -> None:
        """``after(before(x))`` becomes ``before(after(x))``."""
        between, result = self._name(), after.output[0]
        after.input[0] = before.input[0]
        after.output[0] = between
        before.input[0] = between
        before.output[0] = result

    def bypass(self, nodes: Iterable[NodeProto]) -> None:
        """Take nodes out; what read their outputs reads their first inputs that are not constant, if any."""
        for node in nodes:
            source = next((name for name in node.input if name not in self.constants), node.input[0])
            result, maker = node.output[0], self.producer(source)
            self.nodes.remove(node)
            if result in self._outputs and maker is not None and source not in self._outputs:
                maker.output[list(maker.output).index(source)] = result  # the graph's output keeps its name
                result, source = source, result
            self._replace_uses(result, source)

    def keep_float(self, node: NodeProto) -> None:
        """Dequantize the input of ``node`` by plain arithmetic, which gives the same and is left alone."""
        incoming = self.producer(node.input[0])
        if incoming is None or incoming.op_type != "DequantizeLinear":
            return
        scale, zero = (self.constants[name] for name in incoming.input[1:3])
        value = incoming.input[0]
        steps: list[tuple[str, list[str], dict[str, Any]]] = [
            ("Cast", [], {"to": TensorProto.FLOAT}),
            ("Sub", [self._constant(zero.astype(np.float32))], {}),
            ("Mul", [self._constant(scale)], {}),
        ]
        for kind, inputs, attributes in steps:
            output = self._name()
            self.nodes.append(helper.make_node(kind, [value, *inputs], [output], name=output, **attributes))
            value = output
        old, node.input[0] = node.input[0], value
        if not self.consumers(old) and old not in self._outputs:
            self.nodes.remove(incoming)

    def dequantized(self, level: Array, scale: NDArray[np.float32], axis: int) -> str:
        """The name of ``scale * level`` along ``axis``, stored as integers."""
        zero = np.zeros(len(scale), level.dtype)
        output = self._name()
        inputs = [self._constant(level), self._constant(scale), self._constant(zero)]
        self.nodes.append(helper.make_node("DequantizeLinear", inputs, [output], name=output, axis=axis))
        return output

    def write(self) -> None:
        """Put nodes, sorted, and the constants in use back."""
        used = {name for node in self.nodes for name in node.input} | self._outputs
        inside = {name for node in self.nodes if node.op_type == "Constant" for name in node.output}
        kept = [name for name in self.constants if name in used and name not in inside]
        ready = {*kept, *(value.name for value in self._graph.input), ""}
        nodes = [node for node in self.nodes if node.op_type != "Constant" or node.output[0] in used]
        ordered: list[NodeProto] = []
        while nodes:
            waiting = []
            for node in nodes:
                if ready.issuperset(node.input):
                    ordered.append(node)
                    ready.update(node.output)
                else:
                    waiting.append(node)
            if len(waiting) == len(nodes):
                raise ValueError("the graph has a cycle")
            nodes = waiting
        del self._graph.node[:], self._graph.initializer[:], self._graph.value_info[:]
        self._graph.node.extend(ordered)
        self._graph.initializer.extend(numpy_helper.from_array(self.constants[name], name) for name in kept)

    def _constant(self, values: Array) -> str:
        name = self._name()
        self.constants[name] = np.ascontiguousarray(values)
        return name

    def _replace_uses(self, old: str, new: str) -> None:
        for node in self.nodes:
            for number, name in enumerate(node.input):
                if name == old:
                    node.input[number] = new
        if old in self._outputs:
            raise ValueError(f"{old} is an output of the graph")

    def _name(self) -> str:
        self._made += 1
        return f"rayduce_{self._made}"
