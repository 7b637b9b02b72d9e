"""OpenVINO, for Intel's processors."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from torch import nn

from trainables.exporting.formats.base import GraphFormat, Made, Shipped, Wishes
from trainables.exporting.formats.onnx import onnx_graphs
from trainables.exporting.openvino_runtime import core, load_openvino, without_two_bits

SECTION = "rayduce"
"""Of the information in a model, which student it is."""


class OpenVino(GraphFormat):
    """A description (``.xml``) and the weights beside it (``.bin``), made from the student's ONNX file.

    Integers stay integers, and weights of 4 bits stay 4 bits wide; of 2 bits become 4, since OpenVINO
    reads none of 2 from ONNX.
    """

    name, suffix, title = "openvino", ".xml", "OpenVINO"
    extra, modules = "openvino", ("openvino",)
    parts = (".xml", ".bin")
    wishes = frozenset({"reduced_range", "weights"})
    changing_sizes = True

    def make(self, student: Shipped, network: nn.Module, wishes: Wishes) -> dict[str, Made]:
        """See :meth:`GraphFormat.make`."""
        graphs = onnx_graphs(student, "the OpenVINO model", wishes)
        interface = student.recipe.task.interface
        return {
            name: _made(data, {**interface.metadata(), **student.facts, "graph": name})
            for name, data in graphs.items()
        }


def _made(graph: bytes, facts: Mapping[str, str]) -> Made:
    import openvino

    model = core().read_model(without_two_bits(graph))
    for key, value in facts.items():
        model.set_rt_info(value, [SECTION, key])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        # In float16, which is what it saves by default, weights would not be the student's.
        openvino.save_model(model, path, compress_to_fp16=False)
        files = {each: path.with_suffix(each).read_bytes() for each in OpenVino.parts}
    return Made(files, load_openvino(files[".xml"], files[".bin"]))


FORMAT = OpenVino()
