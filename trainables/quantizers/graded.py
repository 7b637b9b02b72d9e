"""Bits by depth and by importance, zero bits for the least important: pruning and quantization in one."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from torch import Tensor

from trainables.quantizers.base import Quantizer, WeightQuantizer
from trainables.quantizers.grades import Grades, Shape, bits_of, stored_bytes, walled
from trainables.quantizers.rows import RowGroup, Rows
from trainables.quantizers.symmetric import Symmetric
from trainables.quantizers.zero import Zero
from trainables.ranges import Range

MAGNITUDES = 1
"""The norm that puts rows in order: what slicing calls ``l1``."""

Action = Annotated[float, Range(0, 1, (0, 1), smaller="low")]


@dataclass(frozen=True)
class Graded(Quantizer):
    """Bits that a profile over depth gives to tensors, and importance to the rows of each (AJPQ, 2020).

    An action in [0, 1] stands for bits from ``least`` to ``most``, as in HAQ (Wang et al. 2019). A tensor's
    lies on a line through three actions; a row's, an output channel's, differs from it by its rank in the sum
    of magnitudes, from + ``spread`` / 2 (the most important row) to - ``spread`` / 2. By the same ranks rows
    are removed: of 0 bits, exactly zero, in the file nothing but the byte that says so. AJPQ's controllers
    are trained networks, of which too little is published: these few numbers, for any search, are our design.

    Attributes:
        first: action of the first tensor, in the order in which the network lists them; default 0.5.
        middle: action half-way; default 0.5.
        last: action of the last tensor; default 0.5.
        spread: by how much the actions of a tensor's rows differ, in [0, 1]; default 0.25.
        removed: share of a tensor's rows that is removed, in [0, 0.95]; one row at least stays; default 0.
        budget: the share of the bytes of all weights at ``most`` bits that they may take, in (0, 1]: bits
            are lowered from the last tensor on until they fit (HAQ's action wall). None (default): no limit.
        least: bits of an action of 0, in [2, 8]; default 2.
        most: bits of an action of 1, at least ``least``; default 8.
        keep: patterns (:mod:`fnmatch`) of the names of tensors that keep all rows, beside the last tensor,
            whose rows are the network's outputs.
    """

    first: Action = 0.5
    middle: Action = 0.5
    last: Action = 0.5
    spread: Annotated[float, Range(0, 1, (0, 1))] = 0.25
    removed: Annotated[float, Range(0, 0.95, (0, 0.6), smaller="high")] = 0.0
    budget: Annotated[float | None, Range(0, 1, smaller="low", excluded="low")] = None
    least: Annotated[int, Range(2, 8)] = 2
    most: Annotated[int, Range(2, 8)] = 8
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.least > self.most:
            raise ValueError(f"least must be at most most, got least={self.least} and most={self.most}")

    def build(self, weight: Tensor, name: str = "") -> WeightQuantizer:
        """As of a network that has no other tensor."""
        return self.over({name: tuple(weight.shape)})[name].build(weight, name)

    def over(self, shapes: Mapping[str, Shape]) -> dict[str, Quantizer]:
        """See the contract, and :meth:`grades`."""
        found = self.grades(shapes)
        return {name: self._quantizer(found[name]) for name in shapes}

    def grades(self, shapes: Mapping[str, Shape]) -> dict[str, Grades]:
        """The bits of the rows of each tensor, the most important row first, within the budget.

        Raises:
            ValueError: the budget cannot be met.
        """
        last = len(shapes) - 1
        whole = {name for pattern in self.keep for name in fnmatch.filter(shapes, pattern)}
        wanted = {
            name: self._rows(shape[0], number / max(last, 1), number < last and name not in whole)
            for number, (name, shape) in enumerate(shapes.items())
        }
        if self.budget is None:
            return wanted
        full = {name: (self.most,) * shape[0] for name, shape in shapes.items()}
        budget = self.budget * stored_bytes(shapes, full)
        return walled(shapes, wanted, self.least, budget)

    def stored_bytes(self, shapes: Mapping[str, Shape]) -> int:
        """What the weights will take before entropy coding, exactly."""
        return stored_bytes(shapes, self.grades(shapes))

    def _rows(self, rows: int, position: float, loses: bool) -> Grades:
        """Bits of a tensor's rows; ``position`` is its place over depth, in [0, 1]."""
        end, weight = (self.first, 1 - 2 * position) if position < 0.5 else (self.last, 2 * position - 1)
        action = self.middle + weight * (end - self.middle)
        kept = max(rows - round(self.removed * rows), min(rows, 1)) if loses else rows
        found = []
        for rank in range(kept):
            own = action + self.spread * (0.5 - (rank + 0.5) / kept)
            found.append(bits_of(min(max(own, 0.0), 1.0), self.least, self.most))
        return (*found, *[0] * (rows - kept))

    def _quantizer(self, grades: Grades) -> Quantizer:
        if len(set(grades)) <= 1:
            return Symmetric(grades[0] if grades else self.most)
        groups = tuple(
            RowGroup(rows / len(grades), Symmetric(bits) if bits else Zero())
            for bits, rows in Counter(grades).items()
        )
        return Rows(groups, norm=MAGNITUDES)
