"""PyTorch's own programs."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from trainables.exporting.formats.base import GraphFormat, Made, Shipped, Wishes
from trainables.exporting.programs import ExactLevels, traced, with_levels
from trainables.interfaces.base import Graph, Run

FACTS = "rayduce.json"
"""The extra file in a program that says which student it is."""

_ORIGINS = ("stack_trace", "source_fn_stack", "torch_fn", "from_node")
"""What a program keeps of the code that it was traced from: paths of this machine, a third of the file."""


class ExportedPrograms(GraphFormat):
    """``torch.export``: any batch, any operator of PyTorch; what AOTInductor compiles.

    Weights are float32 with the student's few values, and inputs of layers are rounded as in the student.
    What early exits leave out is computed all the same.
    """

    name, suffix, title = "pt2", ".pt2", "torch.export"
    changing_sizes = True

    def make(self, student: Shipped, network: nn.Module, wishes: Wishes) -> dict[str, Made]:
        """See :meth:`GraphFormat.make`."""
        graphs = student.recipe.task.interface.graphs(with_levels(network, ExactLevels))
        return {name: self._made(name, graph, student) for name, graph in graphs.items()}

    def _made(self, name: str, graph: Graph, student: Shipped) -> Made:
        facts = {**student.recipe.task.interface.metadata(), **student.facts, "graph": name}
        facts |= {"inputs": json.dumps(list(graph.inputs)), "outputs": json.dumps(list(graph.outputs))}
        program = traced(graph, free=True)
        for node in program.graph.nodes:
            for origin in _ORIGINS:
                node.meta.pop(origin, None)
        file = io.BytesIO()
        torch.export.save(program, file, extra_files={FACTS: json.dumps(facts)})
        return Made({self.suffix: file.getvalue()}, _run(file.getvalue(), graph), "weights in float32")


def _run(data: bytes, graph: Graph) -> Run:
    module = torch.export.load(io.BytesIO(data)).module()

    def run(feed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        with torch.no_grad():
            made = module(*(torch.from_numpy(feed[name]) for name in graph.inputs))
        values = (made,) if isinstance(made, Tensor) else made
        return {name: value.numpy() for name, value in zip(graph.outputs, values, strict=True)}

    return run


FORMAT = ExportedPrograms()
