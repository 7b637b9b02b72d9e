"""ONNX, for ONNX Runtime and whatever else reads it."""

from __future__ import annotations

from pathlib import Path

from trainables.exporting.checking import ExportError
from trainables.exporting.export import integer_kind, to_onnx
from trainables.exporting.formats.base import Export, Format, Shipped, Wishes, beside, named
from trainables.exporting.refusals import explained


class Onnx(Format):
    """One file for each graph, checked in ONNX Runtime; see :func:`to_onnx`."""

    name, suffix, title = "onnx", ".onnx", "ONNX"
    wishes = frozenset({"reduced_range", "weights"})

    def write(self, student: Shipped, target: Path, wishes: Wishes) -> Export:
        """See :meth:`Format.write`."""
        files = named(target, onnx_graphs(student, target.name, wishes))
        return Export({**files, **beside(target, student)}, frozenset(files))


def onnx_graphs(student: Shipped, target: str, wishes: Wishes) -> dict[str, bytes]:
    """The ONNX files of a student by the names of their graphs.

    Args:
        student: what is exported.
        target: the name of the file that it is for, for messages.
        wishes: of the user.

    Raises:
        ExportError: see :func:`to_onnx`; or an integer range is asked for of a student without integers.
    """
    network, interface = student.build(), student.recipe.task.interface
    if wishes.reduced_range is not None and not integer_kind(network, student.tensors):
        raise ExportError(
            f"{target} is float32, since inputs of the student's layers are not quantized; "
            "leave out --reduced-range and --full-range."
        )
    try:
        return to_onnx(
            network,
            interface,
            student.facts,
            student.tensors,
            reduced_range=wishes.reduced_range,
            weights="float32" if wishes.weights == "float32" else "stored",
        )
    except ExportError as error:
        if "aten::" not in str(error):
            raise
        raise ExportError(explained(error, ".onnx", interface.graphs(network))) from None


FORMAT = Onnx()
