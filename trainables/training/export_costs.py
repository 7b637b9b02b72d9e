"""What is counted once on the ONNX export of a student."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from torch import nn

from trainables.exporting.checking import ExportError
from trainables.exporting.export import integer_kind, to_onnx
from trainables.exporting.layers import Layer, layers_of
from trainables.exporting.ram import RamError, SizedWay, peak_of, ram_bytes, sized_graphs
from trainables.identity import code_of
from trainables.metrics.latency import architecture_key
from trainables.recipe import Recipe
from trainables.shipping.packed_file import Packed, describe, unpack

_RAM: dict[str, int] = {}
"""What this process has counted, by :func:`export_key`: many students differ in their weights alone."""


class Measured(NamedTuple):
    """What was measured of an export.

    Attributes:
        numbers: by the names of their metrics.
        missing: why some are missing: a clause, or nothing.
        layers: of the student; none without an export.
    """

    numbers: dict[str, float]
    missing: str
    layers: list[Layer]


def exported(recipe: Recipe, data: bytes, student: nn.Module) -> dict[str, bytes]:
    """The ONNX files by name that ``rayduce export`` writes of the packed file ``data``.

    Args:
        recipe: of the student.
        data: its packed file.
        student: rebuilt from that.

    Raises:
        ExportError: the student has no ONNX form that does what it does.
    """
    return to_onnx(student, recipe.task.interface, facts_of(recipe, len(data)), unpack(data).tensors)


def facts_of(recipe: Recipe, packed_bytes: int) -> dict[str, str]:
    """What an export says of its student in its metadata.

    Args:
        recipe: of the student.
        packed_bytes: length of its packed file.
    """
    facts = {
        "recipe_id": recipe.recipe_id,
        "method": recipe.method,
        "packed_bytes": str(packed_bytes),
        "task": json.dumps(recipe.task.to_dict()),  # with the class names, where the task has them
    }
    if recipe.task.preprocessing:
        facts["preprocessing"] = json.dumps(recipe.task.preprocessing)
    return facts


def counted(
    recipe: Recipe, data: bytes, student: nn.Module, files: Mapping[str, bytes], uses: int = 0
) -> Measured:
    """What is equal on every machine, ``onnx_bytes`` and ``ram_bytes``, and the layers.

    Args:
        recipe: of the student.
        data: its packed file.
        student: rebuilt from that, on the CPU.
        files: of :func:`exported`.
        uses: how often it is used for the shares of its layers in the latency; 0 (default) leaves them out.
    """
    interface, missing = recipe.task.interface, ""
    numbers: dict[str, float] = {"onnx_bytes": sum(map(len, files.values()))}
    graphs: Mapping[str, list[SizedWay]] = {}
    try:
        graphs = sized_graphs(files, interface)
        numbers["ram_bytes"] = peak_of(graphs)
    except RamError as error:  # the student is what it is; only a number is missing
        missing = f"no ram_bytes: {error}"
    layers = layers_of(student, interface, describe(data), files, graphs, uses=uses)
    return Measured(numbers, missing, layers)


def counted_export(recipe: Recipe, data: bytes, student: nn.Module) -> Measured:
    """As :func:`counted`, of an export that is made here; nothing where there is none."""
    try:
        files = exported(recipe, data, student)
    except ExportError as error:
        return Measured({}, f"no memory or size in ONNX: {error}", [])
    return counted(recipe, data, student, files)


def first_costs(recipe: Recipe, data: bytes, student: nn.Module, *, size: bool) -> dict[str, float]:
    """``ram_bytes`` of a student before it trains, which training leaves as it is; nothing if it has none.

    It is counted once for all students of one architecture and kind.

    Args:
        recipe: of the student.
        data: its packed file as it begins.
        student: rebuilt from that, on the CPU.
        size: whether to tell ``onnx_bytes`` of the file as it begins, too: then it is exported each time.
    """
    key = export_key(unpack(data), student)
    if key in _RAM and not size:
        return {"ram_bytes": _RAM[key]}
    try:
        files = exported(recipe, data, student)
    except ExportError:  # it is told at the student's end
        return {}
    found: dict[str, float] = {"onnx_bytes": sum(map(len, files.values()))} if size else {}
    try:
        if key not in _RAM:
            _RAM[key] = ram_bytes(files, recipe.task.interface)
    except RamError:  # likewise
        return found
    return found | {"ram_bytes": _RAM[key]}


def export_key(packed: Packed, student: nn.Module) -> str:
    """Names what decides the latency and the memory of an export: architecture, and what is in integers.

    Args:
        packed: the student's file.
        student: rebuilt from that, or one of its routes.
    """
    task = packed.recipe.task
    key = architecture_key(packed.model, task.interface, task.outputs, code_of(student))
    kind = integer_kind(student, packed.tensors)
    return f"{key}-{kind}" if kind else key
