"""Which architecture is on the front at which size."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from search.units import show_bytes


def families_text(front: Sequence[tuple[str, float]]) -> str:
    """``Along the front: ResNet up to 3.5 kB, then MobileNetV2 up to 21 kB``; empty of one architecture.

    Args:
        front: architecture and size in bytes of each student on the front, smallest first.
    """
    runs = [(name, [size for _, size in run]) for name, run in groupby(front, key=lambda each: each[0])]
    if len({name for name, _ in runs}) < 2:
        return ""
    return f"Along the front: {', then '.join(f'{name} up to {show_bytes(max(run))}' for name, run in runs)}"
