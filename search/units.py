"""Sizes, times and counts as people write and read them."""

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


def show_number(value: float) -> str:
    """Three digits, without an exponent: ``0.5``, ``20``, ``12,300``."""
    if value >= 1000:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}"


def show_bytes(size: float) -> str:
    """Three digits in B, kB, MB or GB (powers of 1000): ``950 B``, ``12.3 kB``, ``1.25 MB``."""
    for unit in ("B", "kB", "MB"):
        if size < 999.5:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{show_number(size)} GB"


def show_seconds(seconds: float) -> str:
    """``1 h 02 min``, ``3 min 20 s`` or ``12 s``."""
    whole = round(seconds)
    if whole >= 3600:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    if whole >= 60:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole} s"


def count(n: int, noun: str) -> str:
    """``1 trial``, ``12 trials``."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def show_state(state: str) -> str:
    """The state of a trial in words: one that was pruned ended early. "Pruned" is what students are."""
    return "ended early" if state == "pruned" else state
