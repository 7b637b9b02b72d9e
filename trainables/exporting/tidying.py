"""Graphs without what they need not say: in a file of few bits, long names and repeated constants weigh."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from onnx import GraphProto, ModelProto, NodeProto, TensorProto

LONGEST_DATA = 1024
"""Bytes up to which stored tensors are compared: shapes, axes, bounds, zeros."""


def shortened(model: ModelProto) -> ModelProto:
    """``model``, in place, with equal small constants stored once and numbers as names of what nodes make.

    Names of inputs, outputs, stored tensors and nodes stay: they say which layer is which.
    """
    graphs = list(_graphs(model.graph))
    answers = {value.name for graph in graphs for value in graph.output}
    renamed = _share_constants(graphs, answers)
    graphs = list(_graphs(model.graph))  # putting nodes back has made copies of the branches in them
    inputs = {value.name for value in model.graph.input}
    kept = inputs | {value.name for value in model.graph.output}
    kept |= {tensor.name for graph in graphs for tensor in graph.initializer}
    made = dict.fromkeys(name for graph in graphs for node in graph.node for name in node.output if name)
    numbers = (name for number in itertools.count() if (name := str(number)) not in kept)
    renamed |= {name: next(numbers) for name in made if name not in kept}
    _rename(graphs, lambda name: renamed.get(name, name))
    return model


def _share_constants(graphs: list[GraphProto], answers: set[str]) -> dict[str, str]:
    """Move constants that nodes hold to the first graph; the names of those that are told apart no more."""
    first: dict[object, str] = {}
    instead: dict[str, str] = {}

    def known(tensor: TensorProto) -> bool:
        """Whether another tensor stands for this one from now on; if none does yet, it is taken down."""
        if len(tensor.raw_data) > LONGEST_DATA or not tensor.raw_data or tensor.name in answers:
            return False
        name = first.setdefault((tensor.data_type, tuple(tensor.dims), tensor.raw_data), tensor.name)
        if name != tensor.name:
            instead[tensor.name] = name
        return name != tensor.name

    for graph in reversed(graphs):  # branches first: they are in nodes of the graphs around them
        moved = [tensor for tensor in graph.initializer if not known(tensor)]
        nodes = []
        for node in graph.node:
            tensor = _constant(node, answers)
            if tensor is None:
                nodes.append(node)
            elif not known(tensor):
                moved.append(tensor)
        del graph.initializer[:], graph.node[:]
        graph.node.extend(nodes)
        # What is equal in two branches must be where both can read it.
        small = [tensor for tensor in moved if tensor.name in first.values()]
        graph.initializer.extend(tensor for tensor in moved if tensor.name not in first.values())
        graphs[0].initializer.extend(small)
    return instead


def _constant(node: NodeProto, answers: set[str]) -> TensorProto | None:
    """The tensor that a node stands for, under the node's name for it."""
    if node.op_type != "Constant" or node.output[0] in answers or node.attribute[0].name != "value":
        return None
    tensor = TensorProto()
    tensor.CopyFrom(node.attribute[0].t)
    tensor.name = node.output[0]
    return tensor


def _rename(graphs: list[GraphProto], new: Callable[[str], str]) -> None:
    for graph in graphs:
        del graph.value_info[:]
        for value in graph.output:
            value.name = new(value.name)
        for node in graph.node:
            node.ClearField("doc_string")
            del node.metadata_props[:]
            for names in (node.input, node.output):
                names[:] = [new(name) for name in names]


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _graphs(inner)
