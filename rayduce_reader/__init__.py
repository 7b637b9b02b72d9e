"""Reads packed students (``.rdz``) with NumPy and constriction alone."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rayduce_reader.forms import Codes, Dense, MixedCodes
    from rayduce_reader.header import Header
    from rayduce_reader.packed_file import Limits, PackedFileError
    from rayduce_reader.reading import read, read_codes, read_header

__all__ = [
    "Codes",
    "Dense",
    "Header",
    "Limits",
    "MixedCodes",
    "PackedFileError",
    "read",
    "read_codes",
    "read_header",
]

__version__ = "0.1.0"

_MODULES = {
    "Codes": "forms",
    "Dense": "forms",
    "Header": "header",
    "Limits": "packed_file",
    "MixedCodes": "forms",
    "PackedFileError": "packed_file",
    "read": "reading",
    "read_codes": "reading",
    "read_header": "reading",
}


def __getattr__(name: str) -> Any:
    # Loaded when asked for: Rayduce's command line takes `foreign` from here and must start without NumPy.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
