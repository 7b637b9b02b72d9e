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

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto

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
from trainables.exporting.quantized_graph import QuantizedGraph
from trainables.quantizers.base import Stored

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
    graph = QuantizedGraph(onnx.shape_inference.infer_shapes(exported).graph, exported.graph)
    graph.give_products_a_bias()
    graph.raise_quantizers()
    for kind in ("Clip", "DequantizeLinear"):
        graph.merge_equal(kind)
    graph.ask_levels_for_shapes()
    graph.saturate_in_quantizers()
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
    graph: QuantizedGraph, node: NodeProto, known: Mapping[ValueKey, IntegerWeight], limit: int
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
    graph: QuantizedGraph, node: NodeProto, weight: IntegerWeight, bias: NDArray[np.float64]
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
