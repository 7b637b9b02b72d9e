"""Numbers and names as people read them; an empty string where nothing was measured."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd


def missing(value: Any) -> bool:
    """Whether nothing was measured: None, NA, NaN or infinite."""
    return bool(pd.isna(value)) or (isinstance(value, float) and not math.isfinite(value))


def number(value: float) -> str:
    """Three digits, without an exponent: ``0.5``, ``20``, ``12,300``."""
    if value >= 1000:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}"


def size(value: Any) -> str:
    """Bytes with a decimal unit, three digits: ``950 B``, ``12.3 kB``, ``1.2 MB``."""
    if missing(value):
        return ""
    scaled = float(value)
    for unit in ("B", "kB", "MB"):
        if scaled < 999.5:
            return f"{scaled:.3g} {unit}"
        scaled /= 1000
    return f"{number(scaled)} GB"


def percent(value: Any, digits: int = 2) -> str:
    """A share in [0, 1] as percent: ``97.5 %``."""
    return "" if missing(value) else f"{100 * float(value):.{digits}f} %"


def points(value: Any) -> str:
    """A difference of shares in percentage points, with its sign: ``-0.56``."""
    if missing(value):
        return ""
    text = f"{100 * float(value):+.2f}"
    return ("0.00" if float(text) == 0 else text).replace("-", "\N{MINUS SIGN}")


def times(value: Any) -> str:
    """A ratio: ``37x``, ``4.1x``."""
    if missing(value):
        return ""
    return f"{float(value):.1f}x" if float(value) < 10 else f"{float(value):,.0f}x"


def duration(seconds: Any) -> str:
    """``48 s``, ``3 min 20 s`` or ``2 h 05 min``."""
    if missing(seconds):
        return ""
    whole = round(float(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def count(n: int, noun: str) -> str:
    """``1 trial``, ``12 trials``."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def method_label(method: Any) -> str:
    """``post_training_quantization`` -> ``Post-training quantization``."""
    if missing(method) or not str(method):
        return "Unknown method"
    words = str(method).replace("post_training", "post-training").replace("_", " ")
    return words[:1].upper() + words[1:]
