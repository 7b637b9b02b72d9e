"""A graph with quantizers, that is brought into the shape from which a runtime makes integers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

from trainables.exporting.integer_weight import Array

REORDERING = ("Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
LAST_LEVEL = 255


class QuantizedGraph:
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
        self._stored: dict[object, str] = {}
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
        """Quantize before taking, padding and reordering values and not after that, which is the same.

        So a quantizer comes to stand behind the layer that computes its input, once for all that read it.
        """
        while True:
            self.merge_equal("QuantizeLinear")  # where several read one tensor, none of them can be raised
            raised = self._raise_over_one()
            split = [self._raise_over_split(node) for node in self.nodes if node.op_type == "Split"]
            if not raised and not any(split):
                return

    def _raise_over_one(self) -> bool:
        """Raise every quantizer as far as it goes; whether any went."""
        raised = False
        for quantizer in [node for node in self.nodes if node.op_type == "QuantizeLinear"]:
            while (before := self.producer(quantizer.input[0])) is not None:
                if not self._moves_values(before) or self.only_consumer(before.output[0]) is None:
                    break
                if before.op_type == "Pad":
                    del before.input[2:]
                    before.input.append(quantizer.input[2])
                self._swap(before, quantizer)
                raised = True
        return raised

    def _raise_over_split(self, node: NodeProto) -> bool:
        """Whether all parts of a tensor were quantized alike; now the tensor is, before it is split."""
        after = [self.only_consumer(name) for name in node.output]
        quantizers = [each for each in after if each is not None and each.op_type == "QuantizeLinear"]
        alike = {tuple(self.constants[name].tobytes() for name in each.input[1:]) for each in quantizers}
        if len(quantizers) < len(node.output) or len(alike) != 1:
            return False
        first, between = quantizers[0], self._name()
        results = [each.output[0] for each in quantizers]
        first.input[0], first.output[0], node.input[0] = node.input[0], between, between
        del node.output[:]
        node.output.extend(results)
        for each in quantizers[1:]:
            self.nodes.remove(each)
        return True

    def ask_levels_for_shapes(self) -> None:
        """Take shapes of quantized tensors and not of what is quantized: else that has another reader."""
        for quantizer in [node for node in self.nodes if node.op_type == "QuantizeLinear"]:
            for node in self.consumers(quantizer.input[0]):
                if node.op_type == "Shape":
                    node.input[0] = quantizer.output[0]

    def saturate_in_quantizers(self) -> None:
        """Take out ReLU and clips of values that saturate in the quantizer behind them, which is the same.

        A runtime's integer kernels end in a quantizer, and few of them cut values off before.
        """
        for quantizer in [node for node in self.nodes if node.op_type == "QuantizeLinear"]:
            before = self.producer(quantizer.input[0])
            if before is None or before.op_type not in ("Relu", "Clip"):
                continue
            if self.only_consumer(before.output[0]) is None:
                continue
            low, high = self._ends(before)
            scale, zero = (self.constants[name] for name in quantizer.input[1:3])
            after = self.only_consumer(quantizer.output[0])
            top = self._ends(after)[1] if after is not None and after.op_type == "Clip" else LAST_LEVEL
            if low / scale + zero < 0.5 and np.rint(high / scale) + zero >= top:
                self.bypass([before])

    def _ends(self, node: NodeProto) -> tuple[float, float]:
        """Between which values ReLU or a clip leaves values as they are; with an unknown end, nowhere."""
        if node.op_type == "Relu":
            return 0.0, float("inf")
        given = [*node.input[1:3], "", ""][:2]
        ends = [
            default if not name else float(self.constants[name]) if name in self.constants else -default
            for name, default in zip(given, (-float("inf"), float("inf")), strict=True)
        ]
        return ends[0], ends[1]

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
            return node.op_type in ("Gather", "Slice", "MaxPool", *REORDERING) and len(node.output) == 1
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
        facts = (values.dtype.str, values.shape, values.tobytes())
        if facts not in self._stored:
            self._stored[facts] = name = self._name()
            self.constants[name] = np.ascontiguousarray(values)
        return self._stored[facts]

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
