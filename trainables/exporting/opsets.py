"""The opset and the version of the format that the types of a graph need."""

from __future__ import annotations

from collections.abc import Iterator

from onnx import GraphProto, ModelProto, NodeProto, TensorProto, defs, helper

NEEDS = {
    int(TensorProto.UINT4): 21,
    int(TensorProto.INT4): 21,
    int(TensorProto.UINT2): 25,
    int(TensorProto.INT2): 25,
}
"""The first opset in which Cast has a type."""

CHANGED = {"GroupNormalization"}
"""Operations that mean another thing since opset 21 under the same signature."""


def raised(model: ModelProto) -> ModelProto:
    """``model``, in place, in the least opset that has the types of all its stored tensors.

    The version of the format, on which readers decide whether they know it, is set with it. A graph of
    older types stays as it is.

    Raises:
        ValueError: an operation has another signature, or means another thing, in that opset.
    """
    (own,) = [each for each in model.opset_import if not each.domain]
    opset = max((NEEDS.get(kind, 0) for kind in stored_types(model.graph)), default=0)
    if opset > own.version:
        for node in nodes_of(model.graph):
            if not node.domain:
                _check_same(node, own.version, opset)
        own.version = opset
    model.ir_version = max(model.ir_version, helper.find_min_ir_version_for([own]))
    return model


def nodes_of(graph: GraphProto) -> Iterator[NodeProto]:
    """All nodes, those in branches included."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from nodes_of(inner)


def stored_types(graph: GraphProto) -> set[int]:
    """Types of stored tensors, those in branches included."""
    found = {tensor.data_type for tensor in graph.initializer}
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                found |= stored_types(inner)
    return found


def _check_same(node: NodeProto, old: int, new: int) -> None:
    """Raise unless ``node`` means in opset ``new`` what it means in ``old``."""
    before, after = (defs.get_schema(node.op_type, opset, "") for opset in (old, new))
    if before.since_version == after.since_version:
        return
    inputs = [[each.name for each in schema.inputs] for schema in (before, after)]
    outputs = [[each.name for each in schema.outputs] for schema in (before, after)]
    added = set(after.attributes) - set(before.attributes)
    same = (
        inputs[1][: len(inputs[0])] == inputs[0]
        and outputs[0] == outputs[1]
        and set(before.attributes) <= set(after.attributes)
        and all(not after.attributes[name].required for name in added)
        and all(_default(before, name) == _default(after, name) for name in before.attributes)
    )
    if not same or node.op_type in CHANGED:
        raise ValueError(
            f"{node.op_type} of opset {old} is another operation in opset {new}, which stores "
            "weights of few bits; export float32 weights"
        )


def _default(schema: defs.OpSchema, name: str) -> str:
    return str(schema.attributes[name].default_value)
