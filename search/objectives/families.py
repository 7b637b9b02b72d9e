"""Which architecture is on the front at which size."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from search.units import show_bytes

MOST = 4
"""Stretches of the front that are told one by one; of more, each architecture is told once."""


def families_text(front: Sequence[tuple[str, float]]) -> str:
    """``Along the front: ResNet up to 3.5 kB, then MobileNetV2 up to 21 kB``; empty of one architecture.

    Where they alternate more than :data:`MOST` times: ``Along the front: ResNet from 1 kB to 3.5 kB,
    MobileNetV2 from 2 kB to 21 kB``.

    Args:
        front: architecture and size in bytes of each student on the front, smallest first.
    """
    runs = [(name, [size for _, size in run]) for name, run in groupby(front, key=lambda each: each[0])]
    if len({name for name, _ in runs}) < 2:
        return ""
    if len(runs) > MOST:
        of: dict[str, list[float]] = {}
        for name, sizes in runs:
            of.setdefault(name, []).extend(sizes)
        ranges = (f"{n} from {show_bytes(min(s))} to {show_bytes(max(s))}" for n, s in of.items())
        return f"Along the front: {', '.join(ranges)}"
    return f"Along the front: {', then '.join(f'{name} up to {show_bytes(max(run))}' for name, run in runs)}"
