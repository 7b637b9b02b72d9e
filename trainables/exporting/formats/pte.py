"""ExecuTorch, for phones and small devices."""

from __future__ import annotations

import json

import numpy as np
import torch
from torch import nn

from trainables.exporting.formats.base import GraphFormat, Made, Shipped, Wishes, one_by_one
from trainables.exporting.integer_program import to_integer_program
from trainables.exporting.programs import SignedLevels, traced, with_levels
from trainables.exporting.quietly import quietly
from trainables.interfaces.base import Graph, Run

FACTS = "rayduce"
"""The method of a program that returns, as JSON, which student it is."""


class ExecuTorch(GraphFormat):
    """One input at a time, by XNNPACK where it has the operator and by portable kernels elsewhere.

    Layers whose weights are 8-bit integers with one scale per tensor or output channel, and whose inputs
    and outputs are quantized, multiply in int8 on the student's own grids. All others are float32.
    What early exits leave out is computed all the same.
    """

    name, suffix, title = "pte", ".pte", "ExecuTorch"
    extra, modules = "executorch", ("executorch.exir", "torchao")

    def make(self, student: Shipped, network: nn.Module, wishes: Wishes) -> dict[str, Made]:
        """See :meth:`GraphFormat.make`."""
        graphs = student.recipe.task.interface.graphs(with_levels(network, SignedLevels))
        return {name: self._made(name, graph, student) for name, graph in graphs.items()}

    def _made(self, name: str, graph: Graph, student: Shipped) -> Made:
        facts = {**student.recipe.task.interface.metadata(), **student.facts, "graph": name}
        facts |= {"inputs": json.dumps(list(graph.inputs)), "outputs": json.dumps(list(graph.outputs))}
        module = traced(graph, free=False).module()
        counted = to_integer_program(module, student.tensors)
        with quietly():
            from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
            from executorch.exir import to_edge_transform_and_lower

            lowered = to_edge_transform_and_lower(
                torch.export.export(module, graph.draw(1)),
                partitioner=[XnnpackPartitioner()],
                constant_methods={FACTS: json.dumps(facts)},
            )
            data = bytes(lowered.to_executorch().buffer)
        return Made({self.suffix: data}, _run(data, graph), counted.words())


def _run(data: bytes, graph: Graph) -> Run:
    from executorch.runtime import Runtime

    program = Runtime.get().load_program(data)

    def run(values: list[np.ndarray]) -> list[np.ndarray]:
        # The program is held here, since a method keeps neither it nor the bytes that it reads from.
        method = program.load_method("forward")
        # Copies: what the runtime returns lies in memory that its next call writes to.
        made = method.execute([torch.from_numpy(np.array(each)) for each in values])
        return [each.numpy().copy() for each in made]

    return one_by_one(run, graph)


FORMAT = ExecuTorch()
