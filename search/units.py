"""Sizes and times as people write and read them."""

from __future__ import annotations

import re

from search.problem import Problem

FACTORS = {
    "": 1,
    "b": 1,
    "kb": 1000,
    "mb": 1000**2,
    "gb": 1000**3,
    "kib": 1024,
    "mib": 1024**2,
    "gib": 1024**3,
}


def parse_bytes(text: str) -> int:
    """``64kB`` -> 64000, ``64KiB`` -> 65536, ``1.5MB`` -> 1500000, ``4096`` -> 4096.

    Raises:
        Problem: not a positive size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", text)
    if match is None or match[2].lower() not in FACTORS:
        raise Problem(f"{text!r} is no size; write for example 64kB, 64KiB, 1.5MB or 65536.")
    size = int(float(match[1]) * FACTORS[match[2].lower()])
    if size < 1:
        raise Problem(f"A size must be at least 1 byte, got {text!r}.")
    return size


def show_bytes(size: float) -> str:
    """Three significant digits in B, kB or MB (powers of 1000)."""
    for limit, unit in ((1e3, "B"), (1e6, "kB"), (1e9, "MB")):
        if size < limit:
            value = size / (limit / 1e3)
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.3g} {unit}"
    return f"{size / 1e9:.3g} GB"


def show_seconds(seconds: float) -> str:
    """``1 h 02 min``, ``3 min 20 s`` or ``12 s``."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    if whole >= 60:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole} s"
