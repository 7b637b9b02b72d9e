"""Exported graphs as plain lists of steps: what each takes and makes, in the order in which they run.

A branch of an ``If`` stands in its place, so that there is one list for each way through a graph.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto

MOST_WAYS = 32
"""Through one graph; each is run once to know its sizes."""

_RANDOM = ("RandomNormal", "RandomUniform")
"""Take nothing and are no constants."""


class FlatGraphError(Exception):
    """The graph holds what no list of steps can say; the message is a clause that names it."""


@dataclass(frozen=True)
class Step:
    """One node as it runs: the names of what it takes and of what it makes, without those left out.

    Where a branch ends there is a step without a node: what the branch took from outside was kept for it
    until then.
    """

    takes: tuple[str, ...]
    makes: tuple[str, ...]
    node: NodeProto | None = None


@dataclass(frozen=True)
class Way:
    """One way through a graph.

    Attributes:
        steps: in the order in which they run.
        inputs: names of what is given to it, without initializers.
        outputs: names of what it returns.
        constants: names of what is the same whatever it is given: initializers, and what is made of nothing
            else.
        model: a graph that does the steps, without branches, and returns every value that is no constant.
    """

    steps: tuple[Step, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    constants: frozenset[str]
    model: ModelProto


def ways(model: ModelProto) -> list[Way]:
    """Every way through the graph of ``model``, whose nodes are in the order in which they run.

    Raises:
        FlatGraphError: it has a loop, or more than 32 ways through its branches.
    """
    graph = model.graph
    initializers = {tensor.name for tensor in (*graph.initializer, *graph.sparse_initializer)}
    found = []
    for steps, inner in _runs(graph):
        constants = _constants(steps, initializers | {tensor.name for tensor in inner})
        inputs = tuple(each.name for each in graph.input if each.name not in initializers)
        outputs = tuple(each.name for each in graph.output)
        flat = _flat(model, steps, inner, constants)
        found.append(Way(tuple(steps), inputs, outputs, frozenset(constants), flat))
    return found


_Run = tuple[list[Step], list[onnx.TensorProto]]
"""The steps of one way, and the initializers of the branches it takes."""


def _runs(graph: GraphProto) -> list[_Run]:
    found: list[_Run] = [([], [])]
    for node in graph.node:
        inner = [_runs_of_branch(node, branch) for branch in _branches(node)]
        if not inner:
            for steps, _ in found:
                steps.append(Step(_named(node.input), _named(node.output), node))
            continue
        kept = Step((*_named(node.input), *_taken_from_outside(node)), ())
        found = [
            ([*steps, *more, kept], [*tensors, *further])
            for steps, tensors in found
            for runs in inner
            for more, further in runs
        ]
        if len(found) > MOST_WAYS:
            raise FlatGraphError(f"there are more than {MOST_WAYS} ways through its branches")
    return found


def _runs_of_branch(node: NodeProto, branch: GraphProto) -> list[_Run]:
    """Those of a branch, whose outputs are made under the names that the ``If`` gives them."""
    renamed = dict(zip((each.name for each in branch.output), node.output, strict=True))
    own = {name for each in branch.node for name in each.output}
    found = []
    for steps, tensors in _runs(branch):
        made = [_renamed(step, {a: b for a, b in renamed.items() if a in own}) for step in steps]
        for name, given in renamed.items():
            if name not in own:  # a value from outside, or a constant, is handed through
                passed = onnx.helper.make_node("Identity", [name], [given], name=given)
                made.append(Step((name,), (given,), passed))
        found.append((made, [*branch.initializer, *tensors]))
    return found


def _renamed(step: Step, names: dict[str, str]) -> Step:
    def new(each: str) -> str:
        return names.get(each, each)

    node = None
    if step.node is not None:
        node = copy.deepcopy(step.node)
        node.input[:] = [new(each) for each in node.input]
        node.output[:] = [new(each) for each in node.output]
    return Step(tuple(map(new, step.takes)), tuple(map(new, step.makes)), node)


def _branches(node: NodeProto) -> list[GraphProto]:
    found = _subgraphs(node)
    if found and node.op_type != "If":
        raise FlatGraphError(f"it has a {node.op_type}, which repeats a part of it")
    return found


def _subgraphs(node: NodeProto) -> list[GraphProto]:
    return [each.g for each in node.attribute if each.type == AttributeProto.GRAPH]


def _taken_from_outside(node: NodeProto) -> list[str]:
    """What the branches of ``node``, and those inside them, take that they do not make."""
    found: dict[str, None] = {}
    for branch in _subgraphs(node):
        own = {each.name for each in branch.initializer}
        for each in branch.node:
            found |= dict.fromkeys(
                name for name in (*_named(each.input), *_taken_from_outside(each)) if name not in own
            )
            own.update(each.output)
        found |= dict.fromkeys(each.name for each in branch.output if each.name not in own)
    return list(found)


def _named(names: Iterable[str]) -> tuple[str, ...]:
    """Without those that are left out, which are empty."""
    return tuple(name for name in names if name)


def _constants(steps: Sequence[Step], stored: set[str]) -> set[str]:
    found = set(stored)
    for step in steps:
        if step.node is None or step.node.op_type in _RANDOM:
            continue
        if found.issuperset(step.takes):
            found.update(step.makes)
    return found


def _flat(
    model: ModelProto, steps: Sequence[Step], inner: Sequence[onnx.TensorProto], constants: set[str]
) -> ModelProto:
    flat = copy.deepcopy(model)
    del flat.graph.node[:]
    del flat.graph.value_info[:]
    flat.graph.node.extend(step.node for step in steps if step.node is not None)
    flat.graph.initializer.extend(inner)
    returned = {output.name for output in flat.graph.output}
    made = dict.fromkeys(name for step in steps for name in step.makes)
    flat.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in made if name not in constants and name not in returned
    )
    return flat
