"""Which layer of a network a node of its export belongs to, by the names that tracing gave it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from onnx import AttributeProto, GraphProto, NodeProto
from torch import nn

from trainables.compression.quantized_inputs import INPUT_QUANTIZER

NETWORK = ""
"""The network itself, where nothing closer is known."""

_AGAIN = re.compile(r"_\d+$")
"""Ends the name of a module that is called again."""
_ADDED = re.compile(r"(_token_\d+|_nchwc)+$")
"""What ONNX Runtime puts behind names when it changes the layout of a layer."""


class Layers:
    """The layers of a network, and who made what in graphs that were traced from it.

    A node belongs to the module whose call it was traced in, as its name says. Where that says nothing it is
    told by the names of its weights, and else by the node that takes what it makes.

    Args:
        network: as it was exported.
        graphs: of the export; further ones of the same names, as a runtime made them, may be asked about.
    """

    def __init__(self, network: nn.Module, graphs: Iterable[GraphProto]) -> None:
        self.names = [name for name, _ in network.named_modules()]
        self._known = frozenset(self.names)
        self._by_node: dict[str, str] = {}
        self._by_value: dict[str, str] = {}
        for graph in graphs:
            self.learn(list(nodes_of(graph)))

    def learn(self, nodes: Sequence[NodeProto]) -> dict[int, str]:
        """The layers of ``nodes``, a whole graph in order, by their places."""
        owners = [self._named(node) for node in nodes]
        takers: dict[str, int] = {}
        for place, node in enumerate(nodes):
            for name in node.input:
                takers.setdefault(name, place)
        for place in reversed(range(len(nodes))):  # whoever takes it comes later, and is known by then
            if owners[place] is None:
                found = [owners[takers[name]] for name in nodes[place].output if name in takers]
                owners[place] = next((each for each in found if each is not None), None)
        for place, (node, owner) in enumerate(zip(nodes, owners, strict=True)):
            owners[place] = NETWORK if owner is None else owner
            if node.name:
                self._by_node[node.name] = owners[place] or NETWORK
            self._by_value |= dict.fromkeys(node.output, owners[place] or NETWORK)
        return {place: owner or NETWORK for place, owner in enumerate(owners)}

    def of_runtime_node(self, name: str) -> str | None:
        """The layer of a node that ONNX Runtime calls ``name``; None of one that it added, such as a copy."""
        plain = _ADDED.sub("", name)
        return self._by_node.get(plain, self._by_value.get(plain))

    def of_tensor(self, name: str) -> str:
        """The layer of a tensor of the network's state, such as ``0.conv`` of ``0.conv.weight``."""
        return self._without_quantizer(name.rpartition(".")[0])

    def _named(self, node: NodeProto) -> str | None:
        segments = node.name.strip("/").split("/")[:-1] if node.name.startswith("/") else []
        found = self._resolved(segments)
        if found is not None:
            return found
        for name in node.input:
            owner = name.removeprefix("network.").rpartition(".")[0]
            if owner in self._known and owner:
                return self._without_quantizer(owner)
        if segments:
            ending = "." + segments[-1]
            alike = [name for name in self.names if f".{name}".endswith(ending)]
            return self._without_quantizer(alike[0]) if len(alike) == 1 else None
        return None

    def _resolved(self, segments: Sequence[str]) -> str | None:
        """The module behind a path such as ``layer1/layer1.0/conv1``; None if it is not one."""
        if not segments:
            return None
        current, before = NETWORK, ""
        for place, segment in enumerate(segments):
            if place == 0 and segment == "network" and "network" not in self._known:
                continue  # the module that the network was wrapped in to be traced
            child = self._child(current, before, segment)
            if child is None:
                return None
            current, before = child, segment if child.endswith(segment) else _AGAIN.sub("", segment)
        return self._without_quantizer(current)

    def _child(self, parent: str, before: str, segment: str) -> str | None:
        for name in (segment, _AGAIN.sub("", segment)):
            for short in (name, name.removeprefix(f"{before}.")):
                child = f"{parent}.{short}" if parent else short
                if child in self._known:
                    return child
        return None

    def _without_quantizer(self, name: str) -> str:
        parts = name.split(".")
        return ".".join(parts[: parts.index(INPUT_QUANTIZER)]) if INPUT_QUANTIZER in parts else name


def nodes_of(graph: GraphProto) -> Iterator[NodeProto]:
    """The nodes of ``graph``, those of its branches before the node that they belong to."""
    for node in graph.node:
        for inner in branches_of(node):
            yield from nodes_of(inner)
        yield node


def branches_of(node: NodeProto) -> list[GraphProto]:
    """The graphs inside a node."""
    return [each.g for each in node.attribute if each.type == AttributeProto.GRAPH]
