"""Why a format cannot hold a network: the operator, the layer that has it, and which format can."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch.export import ExportedProgram

from trainables.exporting.programs import traced
from trainables.foreign import shown
from trainables.interfaces.base import Graph

_OPERATOR = re.compile(r"\baten(?:::|\.|_ops\.)([a-z_]\w*)")
_LONGEST = 240


def explained(error: Exception, suffix: str, graphs: Mapping[str, Graph]) -> str:
    """One sentence for what an exporter raised.

    Args:
        error: of the exporter.
        suffix: of the file that cannot be.
        graphs: of the network.
    """
    said = str(error)
    operators = list(dict.fromkeys(_OPERATOR.findall(said)))
    for graph in graphs.values():
        program = _traced(graph)
        if program is None:
            continue
        for operator in operators:
            if (layer := _layer_with(program, operator)) is not None:
                where = f"in the layer {layer}" if layer else "in the network itself"
                return (
                    f"The student cannot be a {suffix} file: there is no form of the operator {operator} "
                    f"{where}; .pt2 has PyTorch's own operators, .rdz and .safetensors need none."
                )
    if "data-dependent" in said:
        return (
            f"The student cannot be a {suffix} file: PyTorch cannot trace what it decides by the values of "
            "its inputs; .onnx, which is traced otherwise, may have it."
        )
    return f"The student cannot be a {suffix} file: {shown(_first_line(error), _LONGEST)}"


def _traced(graph: Graph) -> ExportedProgram | None:
    try:
        return traced(graph, free=False)
    except Exception:  # a network that PyTorch cannot trace either says no more than the error that is told
        return None


def _layer_with(program: ExportedProgram, operator: str) -> str | None:
    """The name of the layer that calls ``operator``, empty for the network itself; None if there is none."""
    for node in program.graph.nodes:
        if node.op == "call_function" and str(node.target).split(".")[1:2] == [operator]:
            stack = list(node.meta.get("nn_module_stack", {}).values())
            return str(stack[-1][0]).removeprefix("L['self'].").strip(".") if stack else ""
    return None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
