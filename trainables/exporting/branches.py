"""Choices of a traced graph as ONNX's ``If``, whose other branch is not computed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper

from trainables.exiting.leaving import DOMAIN, LEAVE


def branched(model: ModelProto) -> ModelProto:
    """``model`` with each choice between an early and a late answer as an ``If``, in place.

    What only the late answer needs becomes a branch, which runs if some row of the batch needs it. A graph
    without such choices is left as it is.

    Args:
        model: as traced, see :func:`trainables.exiting.leaving.leave_or`.
    """
    _branch(model.graph)
    kept = [each for each in model.opset_import if each.domain != DOMAIN]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    return model


def _branch(graph: GraphProto) -> None:
    """Replace the first choice of ``graph``; those behind it are in its branch, and replaced there."""
    needed = _needed(graph.node, [output.name for output in graph.output])
    choice = next((node for node in graph.node if _is_choice(node) and node.output[0] in needed), None)
    if choice is None:
        return
    certain, early, late = choice.input
    (answer,) = choice.output
    moved = [node for node in graph.node if not needed.intersection(node.output)]
    staying = [node for node in graph.node if needed.intersection(node.output)]
    else_branch = helper.make_graph(
        [
            *moved,
            helper.make_node("Constant", [], [f"{answer}_axis"], value=_numbers(f"{answer}_axis_value", [1])),
            helper.make_node("Unsqueeze", [certain, f"{answer}_axis"], [f"{answer}_column"]),
            helper.make_node("Where", [f"{answer}_column", early, late], [f"{answer}_late"]),
        ],
        f"{answer}_else",
        [],
        [helper.make_tensor_value_info(f"{answer}_late", TensorProto.FLOAT, None)],
        _taken(graph, moved, staying),
    )
    _branch(else_branch)
    then_branch = helper.make_graph(
        [helper.make_node("Identity", [early], [f"{answer}_early"])],
        f"{answer}_then",
        [],
        [helper.make_tensor_value_info(f"{answer}_early", TensorProto.FLOAT, None)],
    )
    everyone = [
        helper.make_node("Cast", [certain], [f"{answer}_number"], to=TensorProto.INT32),
        helper.make_node("ReduceMin", [f"{answer}_number"], [f"{answer}_least"], keepdims=0),
        helper.make_node("Cast", [f"{answer}_least"], [f"{answer}_all"], to=TensorProto.BOOL),
        helper.make_node("If", [f"{answer}_all"], [answer], then_branch=then_branch, else_branch=else_branch),
    ]
    nodes = [each for node in staying for each in (everyone if node is choice else [node])]
    del graph.node[:]
    graph.node.extend(nodes)


def _is_choice(node: NodeProto) -> bool:
    return node.domain == DOMAIN and node.op_type == LEAVE


def _needed(nodes: Iterable[NodeProto], outputs: Iterable[str]) -> set[str]:
    """Names of all values that are computed whatever the choices come to."""
    maker = {name: node for node in nodes for name in node.output}
    found: set[str] = set()
    left = list(outputs)
    while left:
        name = left.pop()
        if name in found or name not in maker:
            continue
        node = maker[name]
        found.update(node.output)
        left += node.input[:2] if _is_choice(node) else node.input
    return found


def _taken(
    graph: GraphProto, moved: Sequence[NodeProto], staying: Sequence[NodeProto]
) -> list[onnx.TensorProto]:
    """The stored tensors that only the nodes ``moved`` use, taken out of ``graph``."""
    used = {name for node in staying for name in node.input}
    wanted = {name for node in moved for name in node.input} - used
    found = [tensor for tensor in graph.initializer if tensor.name in wanted]
    kept = [tensor for tensor in graph.initializer if tensor.name not in wanted]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    return found


def _numbers(name: str, values: Sequence[int]) -> onnx.TensorProto:
    return helper.make_tensor(name, TensorProto.INT64, [len(values)], values)
