"""What is counted once on the ONNX export of a student."""

from __future__ import annotations

import json
from collections.abc import Mapping

from torch import nn

from trainables.exporting.export import integer_kind, to_onnx
from trainables.exporting.ram import ram_bytes
from trainables.identity import code_of
from trainables.interfaces.base import Interface
from trainables.metrics.latency import architecture_key
from trainables.recipe import Recipe
from trainables.shipping.packed_file import Packed, unpack

_RAM: dict[str, int] = {}
"""What this process has counted, by :func:`export_key`: many students differ in their weights alone."""


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


def onnx_bytes(files: Mapping[str, bytes]) -> int:
    """The length of all files of an export."""
    return sum(map(len, files.values()))


def ram_of(files: Mapping[str, bytes], interface: Interface, key: str) -> int:
    """The activation memory of an export, counted once for all students of one architecture and kind.

    Args:
        files: the export.
        interface: how the network is used.
        key: see :func:`export_key`.

    Raises:
        RamError: it cannot be told, see :func:`trainables.exporting.ram.ram_bytes`.
    """
    if key not in _RAM:
        _RAM[key] = ram_bytes(files, interface)
    return _RAM[key]


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
