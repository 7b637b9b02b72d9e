"""What each layer of a student costs: work, weights, bytes, memory and time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, TensorProto
from torch import nn

from trainables.exporting.ram import SizedWay
from trainables.exporting.scopes import NETWORK, Layers, branches_of, nodes_of
from trainables.interfaces.base import Interface
from trainables.metrics.macs import macs_by_module
from trainables.routes import routes_of
from trainables.runtime import profiled

GRAPH = "(graph)"
"""Stands for what of ONNX files is no weight: nodes, names and metadata."""
LAYOUT = "(layout)"
"""Stands for what ONNX Runtime adds to change layouts between layers."""

WARM_UP = 10  # uses


@dataclass
class Layer:
    """The costs of one layer, without those of the layers inside it.

    Attributes:
        name: as in the network; empty for the network itself, in brackets for what is no layer.
        macs: multiply-accumulates of one use.
        weights: elements of its tensors in the packed file, whatever their dimensions.
        packed_bytes: of these tensors in the packed file.
        onnx_bytes: of its constants in the ONNX files.
        activation_bytes: of what it hands on, in the type it has at run time; 0 where it is part of another.
        latency_share: its share of the time for one use, in [0, 1]; None where it was not measured.
    """

    name: str
    macs: int = 0
    weights: int = 0
    packed_bytes: int = 0
    onnx_bytes: int = 0
    activation_bytes: int = 0
    latency_share: float | None = field(default=None)

    def as_row(self) -> dict[str, Any]:
        """Ready for JSON."""
        return asdict(self)


def layers_of(
    student: nn.Module,
    interface: Interface,
    tensors: Iterable[Mapping[str, Any]],
    files: Mapping[str, bytes],
    graphs: Mapping[str, Sequence[SizedWay]],
    *,
    uses: int = 0,
) -> list[Layer]:
    """The layers of a student that cost anything, in the network's own order, then what is no layer.

    Each column adds up to the cost of the whole student, but for activations. Of one with early exits,
    multiply-accumulates are those of an input that leaves at none.

    Args:
        student: rebuilt from its packed file, on the CPU.
        interface: how it is used.
        tensors: rows of :func:`trainables.shipping.packed_file.describe`.
        files: its export.
        graphs: of :func:`trainables.exporting.ram.sized_graphs`; without any, no activations are told.
        uses: how often the files are used on this machine for the shares of latency, after as many to warm
            up as :data:`WARM_UP`; 0 (default) leaves the shares out.

    Raises:
        Exception: ONNX Runtime does not run a file; its errors share no public base.
    """
    models = {name: onnx.load_from_string(data) for name, data in files.items()}
    names = Layers(student, [model.graph for model in models.values()])
    table = {name: Layer(name) for name in names.names}

    def row(name: str) -> Layer:
        return table.setdefault(name, Layer(name))

    whole = routes_of(student)[-1][1]
    for name, count in macs_by_module(whole, interface).items():
        row(name).macs += count
    for tensor in tensors:
        if tensor["shape"] is None or ":" in tensor["name"]:
            outside = "(header)" if tensor["shape"] is None else f"({tensor['name'].partition(':')[0]})"
            row(outside).packed_bytes += tensor["bytes"]
            continue
        layer = row(names.of_tensor(tensor["name"]))
        layer.weights += math.prod(tensor["shape"])
        layer.packed_bytes += tensor["bytes"]
    for name, model in models.items():
        left = len(files[name])
        for owner, size in _constants(names, model.graph):
            row(owner).onnx_bytes += size
            left -= size
        row(GRAPH).onnx_bytes += left
    for ways in graphs.values():
        for owner, size in _handed_on(names, ways).items():
            row(owner).activation_bytes = max(row(owner).activation_bytes, size)
    if uses:
        for layer in table.values():
            layer.latency_share = 0.0
        for owner, share in _shares(names, files, interface, uses).items():
            found = row(owner)
            found.latency_share = (found.latency_share or 0.0) + share
    return [layer for layer in table.values() if any(list(layer.as_row().values())[1:])]


def _constants(names: Layers, graph: GraphProto) -> Iterator[tuple[str, int]]:
    """Who has each constant of a graph and its branches, and how many bytes it takes in the file."""
    nodes = list(nodes_of(graph))
    owners = names.learn(nodes)
    takers: dict[str, str] = {}
    for place, node in enumerate(nodes):
        for name in node.input:
            takers.setdefault(name, owners[place])
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                yield owners[place], attribute.t.ByteSize()
    for tensor in _stored(graph):
        yield takers.get(tensor.name, NETWORK), tensor.ByteSize()


def _stored(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for inner in branches_of(node):
            yield from _stored(inner)


def _handed_on(names: Layers, ways: Sequence[SizedWay]) -> dict[str, int]:
    """The bytes of what the last node of each layer makes, on the way on which that is most."""
    found: dict[str, int] = {}
    for way, sizes in ways:
        steps = [(step, step.node) for step in way.steps if step.node is not None]
        owners = names.learn([node for _, node in steps])
        last: dict[str, int] = {}
        for place, (step, _) in enumerate(steps):
            size = sum(sizes.get(name, 0) for name in step.makes)
            if size:
                last[owners[place]] = size
        for name, size in last.items():
            found[name] = max(found.get(name, 0), size)
    return found


def _shares(names: Layers, files: Mapping[str, bytes], interface: Interface, uses: int) -> dict[str, float]:
    """The share of each layer in the time of one use: medians of its nodes over so many."""
    work = interface.work()["latency_ms"]
    with profiled(files) as (runs, taken):
        for _ in range(WARM_UP + uses):
            work(runs)
        times = taken()
    found: dict[str, float] = {}
    for node, durations in times:
        times_a_use = len(durations) / (WARM_UP + uses)
        owner = names.of_runtime_node(node)
        key = LAYOUT if owner is None else owner
        found[key] = found.get(key, 0.0) + times_a_use * float(np.median(durations))
    total = sum(found.values())
    return {name: time / total for name, time in found.items()} if total else {}
