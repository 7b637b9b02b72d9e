"""What ``rayduce export`` writes; one format per file. Importing this loads no library."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trainables.exporting.formats.base import Format

FORMATS: dict[str, str] = {
    "rdz": ".rdz",
    "onnx": ".onnx",
    "pt2": ".pt2",
    "pte": ".pte",
    "openvino": ".xml",
    "tflite": ".tflite",
    "safetensors": ".safetensors",
}
"""Name of a format, which is that of its file in this folder -> what its files end in."""


def format_of(name: str) -> Format:
    """The format called ``name``, one of :data:`FORMATS`; loads what it needs of the base libraries."""
    found: Format = import_module(f"{__name__}.{name}").FORMAT
    return found
