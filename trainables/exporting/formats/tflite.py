"""LiteRT, which was TensorFlow Lite, for phones and microcontrollers."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, fx, nn

from trainables.exporting.formats.base import GraphFormat, Made, Shipped, Wishes, one_by_one
from trainables.exporting.integer_program import to_integer_program
from trainables.exporting.programs import SignedLevels, traced, with_levels
from trainables.exporting.quietly import quietly
from trainables.interfaces.base import Graph, Run


class LiteRT(GraphFormat):
    """One input at a time, and the facts of the student in a file beside it (``.json``).

    Layers whose weights are 8-bit integers with one scale per tensor or output channel, and whose inputs
    and outputs are quantized, multiply in int8 on the student's own grids. All others are float32. An input
    that the student quantizes first is int8, with its scale and zero point in the file.
    What early exits leave out is computed all the same.
    """

    name, suffix, title = "tflite", ".tflite", "LiteRT"
    extra, modules = "litert", ("litert_torch", "ai_edge_litert")
    parts, described = (".tflite", ".json"), (".json",)

    def make(self, student: Shipped, network: nn.Module, wishes: Wishes) -> dict[str, Made]:
        """See :meth:`GraphFormat.make`."""
        graphs = student.recipe.task.interface.graphs(with_levels(network, SignedLevels))
        return {name: self._made(name, graph, student) for name, graph in graphs.items()}

    def _made(self, name: str, graph: Graph, student: Shipped) -> Made:
        facts = {**student.recipe.task.interface.metadata(), **student.facts, "graph": name}
        facts |= {"inputs": json.dumps(list(graph.inputs)), "outputs": json.dumps(list(graph.outputs))}
        module = traced(graph, free=False).module()
        counted = to_integer_program(module, student.tensors, levels=False)
        with quietly():
            data = _converted(module, graph)
        files = {".tflite": data, ".json": json.dumps(facts, indent=1).encode()}
        return Made(files, _run(data, graph), counted.words())


class _Called(nn.Module):
    """A program as a module that can be put into eval mode, which programs themselves refuse."""

    def __init__(self, program: fx.GraphModule) -> None:
        super().__init__()
        self._call: Callable[..., Any] = program.forward
        for name, values in program.state_dict().items():
            self.register_buffer(name.replace(".", "_"), values)

    def forward(self, *tensors: Tensor) -> Any:
        return self._call(*tensors)


def _converted(program: fx.GraphModule, graph: Graph) -> bytes:
    import litert_torch
    from litert_torch.quantize.pt2e_quantizer import PT2EQuantizer, get_symmetric_quantization_config
    from litert_torch.quantize.quant_config import QuantConfig

    # Says that pairs of quantization and its inverse mean integers; what is quantized is in the program.
    how = PT2EQuantizer().set_global(get_symmetric_quantization_config(is_per_channel=True))
    made = litert_torch.convert(
        _Called(program).eval(), graph.draw(1), quant_config=QuantConfig(pt2e_quantizer=how)
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "student.tflite"
        made.export(str(path))
        return path.read_bytes()


def _run(data: bytes, graph: Graph) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_content=data, num_threads=1).get_signature_runner()
    inputs = runner.get_input_details()
    names = [f"args_{number}" for number in range(len(graph.inputs))]

    def run(values: list[np.ndarray]) -> list[np.ndarray]:
        given = {name: _levels(each, inputs[name]) for name, each in zip(names, values, strict=True)}
        made = runner(**given)
        return [made[f"output_{number}"] for number in range(len(graph.outputs))]

    return one_by_one(run, graph)


def _levels(values: np.ndarray, place: Mapping[str, Any]) -> np.ndarray:
    """``values`` as an input takes them: integers on its grid, or as they are."""
    scale, zero = place["quantization"]
    if place["dtype"] is not np.int8:
        return np.ascontiguousarray(values)
    return np.clip(np.rint(values / np.float32(scale)) + zero, -128, 127).astype(np.int8)


FORMAT = LiteRT()
