"""An allocation that failed, in one sentence: PyTorch, CUDA and NumPy each say it in words of their own."""

from __future__ import annotations

import re

import torch

_MARKS = ("not enough memory", "can't allocate memory", "out of memory")
"""In messages of RuntimeErrors, which is what PyTorch raises on the CPU."""
_SIZE = re.compile(r"allocate ([\d.]+) ?(bytes|[KMGTP]iB)")
_POWERS = {"bytes": 0, "KiB": 1, "MiB": 2, "GiB": 3, "TiB": 4, "PiB": 5}


def out_of_memory(error: BaseException) -> str:
    """What is said of an ``error`` that memory ran out, or that was raised from one; empty for any other."""
    text = str(error)
    known = isinstance(error, (torch.OutOfMemoryError, MemoryError))
    if not known and not (isinstance(error, RuntimeError) and any(mark in text for mark in _MARKS)):
        return "" if error.__cause__ is None else out_of_memory(error.__cause__)
    found = _SIZE.search(text)
    size = f" of {_spelled(float(found[1]) * 1024 ** _POWERS[found[2]])}" if found else ""
    return (
        f"memory ran out at an allocation{size}: make batches or images smaller, or run fewer trials at a "
        "time (--concurrency)"
    )


def _spelled(size: float) -> str:
    for unit, count in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size >= count:
            return f"{size / count:,.3g} {unit}"
    return f"{size:,.0f} bytes"
