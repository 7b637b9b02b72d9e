"""Which of a few ascending points is nearest to each of many values.

``torch.bucketize`` searches by halving, and its unpredictable branches cost 10 to 45 ns per value on a CPU.
For few points it is faster to count the middles between points that a value has reached, and for more
points to look the count up in a table of narrow cells and correct it by the middles inside the cell. All
three ways answer the same for any number; what is no number may get any point.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

CELLS = 2**12
"""Cells of the table over [0, 1]: at 4 bytes each, its two rows fit a level 1 cache."""

FEW_POINTS = 8
"""Up to so many points, counting middles is faster than the table."""

MANY_VALUES = 2**13
"""From so many values on, the table is worth its making."""

MOST_IN_CELL = 4
"""Each middle in the fullest cell costs a pass; with more than this, halving is faster."""


class Table(NamedTuple):
    """The middles by cell: cell ``c`` covers the values in [c / CELLS, (c + 1) / CELLS).

    ``below``: how many middles lie in the cells before, float32, shape (CELLS,). ``inside``: the middles in
    the cell, NaN, which nothing reaches, where there are fewer; shape (at most MOST_IN_CELL, CELLS).
    """

    below: Tensor
    inside: Tensor


class Finder:
    """Finds the nearest of ``points`` (float32, ascending, at least 2); ties go up.

    Args:
        points: shape (k,), on the device of the values.
        count: how many values there will be in all.
    """

    def __init__(self, points: Tensor, count: int) -> None:
        points = points.detach().float()
        self.middles = ((points[1:] + points[:-1]) / 2).contiguous()
        on_cpu = points.device.type == "cpu"
        self.few = self.middles.tolist() if on_cpu and points.numel() <= FEW_POINTS else None
        many = on_cpu and self.few is None and count >= MANY_VALUES
        self.table = _table(self.middles) if many else None

    def __call__(self, unit: Tensor) -> Tensor:
        """Numbers of the nearest points to float32 ``unit``, its shape; whole numbers as float32 or int64."""
        if self.few is not None:
            return _count_reached(unit, self.few)
        if self.table is not None:
            return _look_up(unit, self.table)
        return torch.bucketize(unit, self.middles, right=True)


def _count_reached(unit: Tensor, middles: list[float]) -> Tensor:
    # Comparisons that write float32 are vectorized; those that write bool are not.
    found = torch.ge(unit, middles[0], out=torch.empty_like(unit))
    reached = torch.empty_like(unit)
    for middle in middles[1:]:
        found.add_(torch.ge(unit, middle, out=reached))
    return found


def _look_up(unit: Tensor, table: Table) -> Tensor:
    # Made an integer that indexes by way of int32: there and on, both conversions are vectorized. What is
    # no number has become the smallest integer, so cells are clamped too.
    cell = (unit * CELLS).clamp_(0, CELLS - 1).to(torch.int32).clamp_(0, CELLS - 1).long().reshape(-1)
    values = unit.reshape(-1)
    found = torch.index_select(table.below, 0, cell)
    for inside in table.inside:
        middle = torch.index_select(inside, 0, cell)
        found.add_(torch.ge(values, middle, out=middle))
    return found.view(unit.shape)


def _table(middles: Tensor) -> Table | None:
    """The table, or None where too many middles share a cell."""
    # The same steps as for values, so that rounding cannot put a middle behind a value that reaches it.
    cell = (middles * CELLS).clamp_(0, CELLS - 1).long().clamp_(0, CELLS - 1)
    counts = torch.bincount(cell, minlength=CELLS)
    most = int(counts.max())
    if most > MOST_IN_CELL:
        return None
    below = counts.cumsum(0) - counts
    inside = torch.full((most, CELLS), torch.nan)
    place = (torch.arange(middles.numel()) - below[cell]).clamp_(0, most - 1)
    inside[place, cell] = middles
    return Table(below.float(), inside)
