"""Bits per row of every tensor, what they take in a file, and how they are brought under a budget."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

SCALE_BYTES = 2
"""Of the scale of a row, in float16."""

Shape = tuple[int, ...]
Grades = tuple[int, ...]
"""The bits of the rows of a tensor, the most important row first; 0 is a row that is removed."""


def bits_of(action: float, least: int, most: int) -> int:
    """Bits of an action in [0, 1], as HAQ maps it (Wang et al. 2019), held in [least, most].

    The published code does not hold it: there an action of 0 gives 0 bits where ``least`` is 1.
    """
    return min(max(round((most - least + 1) * action + least - 0.5), least), most)


def tensor_bytes(shape: Shape, grades: Grades) -> int:
    """What a tensor takes before entropy coding: levels in whole bytes, a scale per row, group numbers.

    A row of 0 bits has neither levels nor scale. A byte per row says which bits it has, unless all have the
    same. Names and shapes are not counted.
    """
    apiece = math.prod(shape[1:])
    groups = Counter(bits for bits in grades if bits)
    levels = sum(-(-bits * rows * apiece // 8) for bits, rows in groups.items())
    scales = sum(groups.values()) * SCALE_BYTES if apiece else 0
    return levels + scales + (len(grades) if len(set(grades)) > 1 else 0)


def stored_bytes(shapes: Mapping[str, Shape], grades: Mapping[str, Grades]) -> int:
    """What all tensors take before entropy coding: exact before anything is trained."""
    return sum(tensor_bytes(shape, grades[name]) for name, shape in shapes.items())


def walled(
    shapes: Mapping[str, Shape], wanted: Mapping[str, Grades], least: int, budget: float
) -> dict[str, Grades]:
    """Bits within a budget: HAQ's action wall.

    While the size is over the budget, tensors lose one bit per row, the last first and over and over again;
    the size is looked at after each of them. No row gets fewer than ``least`` bits; removed rows stay so.

    Args:
        shapes: of the tensors, in the order of the network.
        wanted: their bits.
        least: bits that a row keeps.
        budget: bytes, as :func:`stored_bytes` counts them.

    Raises:
        ValueError: at ``least`` bits everywhere it is still too large.
    """
    found = dict(wanted)
    sizes = {name: tensor_bytes(shape, found[name]) for name, shape in shapes.items()}
    total = sum(sizes.values())
    while total > budget:
        before = dict(found)
        for name in reversed(list(shapes)):
            found[name] = lowered(found[name], least)
            total -= sizes[name]
            sizes[name] = tensor_bytes(shapes[name], found[name])
            total += sizes[name]
            if total <= budget:
                break
        if total > budget and found == before:
            raise ValueError(
                f"weights take {total:,} bytes at {least} bits, more than the budget of {budget:,.0f}: give "
                f"a larger budget, remove more rows, or allow fewer bits"
            )
    return found


def lowered(grades: Sequence[int], least: int) -> Grades:
    """One bit less for each row that has more than ``least``."""
    return tuple(bits - 1 if bits > least else bits for bits in grades)
