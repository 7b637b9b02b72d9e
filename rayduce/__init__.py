"""Rayduce in Python: ``from rayduce import Sweep, Front, Student, load, methods, spaces, parts``.

Names are imported when they are first used, so that reading a student needs neither Ray nor MLflow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import spaces as spaces
    from rayduce import parts as parts
    from rayduce.face import Sweep as Sweep
    from rayduce.fronts import Front as Front
    from rayduce.fronts import Student as Student
    from rayduce.reading import load as load
    from trainables import methods as methods

_PLACES = {
    "Front": ("rayduce.fronts", "Front"),
    "Student": ("rayduce.fronts", "Student"),
    "Sweep": ("rayduce.face", "Sweep"),
    "load": ("rayduce.reading", "load"),
    "methods": ("trainables.methods", ""),
    "parts": ("rayduce.parts", ""),
    "spaces": ("spaces", ""),
}

__all__ = ["Front", "Student", "Sweep", "load", "methods", "parts", "spaces"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'rayduce' has no attribute {name!r}")
    module, inner = _PLACES[name]
    found = importlib.import_module(module)
    return getattr(found, inner) if inner else found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
