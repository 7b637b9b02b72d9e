"""What each layer of one packed file costs: a table for eighty columns, and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from rayduce.commands.console import escaped, whole_line
from search.problem import Problem
from search.units import show_bytes

if TYPE_CHECKING:
    from trainables.exporting.layers import Layer

NETWORK = "(network)"
"""Stands for what the network does outside its layers."""
LONGEST_NAME = 200
MEASURED = 100
"""Uses of a student for the shares of its layers in the latency."""


def layers_of_file(content: bytes, source: str) -> list[Layer]:
    """The layers of the student in a packed file; their shares of latency are measured here, now.

    Args:
        content: the file.
        source: what the user calls it.

    Raises:
        Problem: it has no ONNX form.
    """
    from trainables.exporting.checking import ExportError
    from trainables.exporting.layers import layers_of
    from trainables.exporting.ram import RamError, sized_graphs
    from trainables.shipping.evaluation import open_student
    from trainables.shipping.packed_file import describe
    from trainables.training.export_costs import exported

    recipe, student = open_student(content)
    interface = recipe.task.interface
    try:
        files = exported(recipe, content, student)
        graphs = sized_graphs(files, interface)
    except (ExportError, RamError) as error:
        raise Problem(f"The layers of {source} cannot be told: {error}.") from error
    return layers_of(student, interface, describe(content), files, graphs, uses=MEASURED)


def layer_records(layers: Sequence[Layer]) -> list[dict[str, Any]]:
    """Every number as measured, for JSON."""
    return [layer.as_row() for layer in layers]


def layers_table(title: str, layers: Sequence[Layer]) -> Table:
    """In 80 columns; only names fold."""
    table = Table(
        title=whole_line(title),
        title_justify="left",
        box=None,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_footer=True,
    )
    table.add_column("layer", "total", overflow="fold")
    sums = {key: sum(getattr(layer, key) for layer in layers) for key in ("macs", "weights")}
    sizes = {key: sum(getattr(layer, key) for layer in layers) for key in ("packed_bytes", "onnx_bytes")}
    for heading, total in (
        ("MACs", f"{sums['macs']:,}"),
        ("weights", f"{sums['weights']:,}"),
        ("packed", show_bytes(sizes["packed_bytes"])),
        ("ONNX", show_bytes(sizes["onnx_bytes"])),
        ("output", ""),
        ("latency", "100.0 %"),
    ):
        table.add_column(heading, total, justify="right", no_wrap=True)
    for layer in layers:
        table.add_row(
            escaped(layer.name or NETWORK, LONGEST_NAME),
            f"{layer.macs:,}" if layer.macs else "",
            f"{layer.weights:,}" if layer.weights else "",
            show_bytes(layer.packed_bytes) if layer.packed_bytes else "",
            show_bytes(layer.onnx_bytes) if layer.onnx_bytes else "",
            show_bytes(layer.activation_bytes) if layer.activation_bytes else "",
            f"{100 * layer.latency_share:.1f} %" if layer.latency_share else "",
        )
    return table
