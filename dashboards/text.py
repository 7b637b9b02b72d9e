"""Numbers and names of a page; an empty string where nothing was measured."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from search.units import show_bytes, show_number, show_seconds
from trainables.metrics import Quality


def missing(value: Any) -> bool:
    """Whether nothing was measured: None, NA, NaN or infinite."""
    return bool(pd.isna(value)) or (isinstance(value, float) and not math.isfinite(value))


def number(value: Any) -> str:
    """``0.5``, ``20``, ``12,300``."""
    return "" if missing(value) else show_number(float(value))


def whole(value: Any) -> str:
    """Every digit, for what is a setting and no measurement: ``1,024``."""
    return "" if missing(value) else f"{int(value):,}"


def size(value: Any) -> str:
    """Bytes: ``950 B``, ``12.3 kB``, ``1.25 MB``."""
    return "" if missing(value) else show_bytes(float(value))


def share(value: Any) -> str:
    """A share in [0, 1] as percent: ``29 %``."""
    return "" if missing(value) else f"{100 * float(value):.0f} %"


def score(quality: Quality, value: Any) -> str:
    """A value of ``quality``: ``97.50 %``, ``34.20``."""
    return "" if missing(value) else quality.text(float(value))


def points(value: Any) -> str:
    """A difference in points of quality, with its sign: ``-0.56``."""
    if missing(value):
        return ""
    text = f"{float(value):+.2f}"
    return ("0.00" if float(text) == 0 else text).replace("-", "\N{MINUS SIGN}")


def times(value: Any) -> str:
    """A ratio: ``37x``, ``4.1x``."""
    if missing(value):
        return ""
    return f"{float(value):.1f}x" if float(value) < 10 else f"{float(value):,.0f}x"


def milliseconds(value: Any) -> str:
    """A latency without its unit: ``0.250``."""
    return "" if missing(value) else f"{float(value):.3f}"


def duration(seconds: Any) -> str:
    """``48 s``, ``3 min 20 s`` or ``2 h 05 min``."""
    return "" if missing(seconds) else show_seconds(float(seconds))


def method_label(method: Any) -> str:
    """``post_training_quantization`` -> ``Post-training quantization``."""
    if missing(method) or not str(method):
        return "Unknown method"
    words = str(method).replace("post_training", "post-training").replace("_", " ")
    return words[:1].upper() + words[1:]
