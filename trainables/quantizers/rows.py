"""Row groups of one tensor, each with a quantizer of its own: mixed precision inside a layer."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Annotated, cast

import torch
from torch import Tensor, nn

from trainables.part import Part
from trainables.quantizers.base import NO_GROUP, Grouped, Quantizer, Stored, WeightQuantizer
from trainables.ranges import Range

MOST_GROUPS = 16


class _Rows(WeightQuantizer):
    divisible = False
    exact_zero = True
    group: Tensor
    chosen: Tensor

    def __init__(self, part: Rows, weight: Tensor, name: str) -> None:
        super().__init__()
        self.norm = part.norm
        self.counts = part.counts(len(weight))
        built = [
            group.quantizer.build(weight[:count], name)
            for group, count in zip(part.groups, self.counts, strict=True)
        ]
        for group, module in zip(part.groups, built, strict=True):
            if not module.exact_zero or isinstance(module, _Rows):
                raise ValueError(
                    f"a group of rows needs a plain quantizer with an exact zero, got {group.quantizer}"
                )
        self.parts = nn.ModuleList(built)
        self.register_buffer("group", torch.zeros(len(weight), dtype=torch.uint8, device=weight.device))
        self.register_buffer("chosen", torch.tensor(False))

    def initialize(self, weight: Tensor) -> None:
        self.group.copy_(self._by_importance(weight))
        self.chosen.fill_(True)
        for rows, part in self._places(self.group):
            part.initialize(weight[rows])

    def forward(self, weight: Tensor) -> Tensor:
        made = torch.zeros_like(weight)
        for rows, part in self._places(self._groups_of(weight)):
            made = made.index_copy(0, rows, part(weight[rows]))
        return made

    def encode(self, weight: Tensor, shape: tuple[int, ...], keep: Tensor | None) -> Grouped:
        places = self._places(self._groups_of(weight))
        # Rows that are all zero are in no group; of a tensor that is, one tells the shape.
        places = [(rows, part) for rows, part in places if not part.all_zero] or places[:1]
        stored: list[Stored] = []
        numbers = torch.full_like(self.group, NO_GROUP)
        for rows, part in places:
            values = weight[rows]
            numbers[rows] = len(stored)
            stored.append(cast(Stored, part.encode(values, tuple(values.shape), None)))
        return Grouped(numbers.cpu(), tuple(stored))

    def penalty(self) -> Tensor | float:
        return sum((part.penalty() for part in self._modules_in_use()), 0.0)

    def constrain(self, optimizer: torch.optim.Optimizer) -> None:
        for part in self._modules_in_use():
            part.constrain(optimizer)

    def _modules_in_use(self) -> list[WeightQuantizer]:
        return [part for part, count in zip(self.parts, self.counts, strict=True) if count]  # type: ignore[misc]

    def _groups_of(self, weight: Tensor) -> Tensor:
        return self.group if self.chosen else self._by_importance(weight)

    def _by_importance(self, weight: Tensor) -> Tensor:
        """The group of each row; of equal rows the earlier one matters more."""
        norms = weight.detach().reshape(len(weight), -1).norm(self.norm, dim=1)
        order = torch.argsort(norms, descending=True, stable=True)
        counts = torch.tensor(self.counts, device=weight.device)
        numbers = torch.arange(len(self.counts), dtype=torch.uint8, device=weight.device)
        group = torch.empty_like(self.group)
        group[order] = torch.repeat_interleave(numbers, counts)
        return group

    def _places(self, group: Tensor) -> list[tuple[Tensor, WeightQuantizer]]:
        """The numbers of the rows of each group that has any, and its quantizer."""
        places = [
            (torch.nonzero(group == number).reshape(-1), part) for number, part in enumerate(self.parts)
        ]
        return [(rows, part) for rows, part in places if len(rows)]  # type: ignore[misc]


@dataclass(frozen=True)
class RowGroup(Part):
    """A share of the rows, and what quantizes them.

    Attributes:
        share: of all rows, in [0, 1].
        quantizer: with an exact zero, such as ``Symmetric(4)``; ``Zero()``, zero bits, prunes the rows.
    """

    share: Annotated[float, Range(0, 1)]
    quantizer: Quantizer


@dataclass(frozen=True)
class Rows(Quantizer):
    """Rows of a tensor, its first dimension, in groups with bits of their own (AJPQ, 2020).

    When quantizing begins, rows are put in order by their norm, and the first group gets its share of those
    that matter most; groups then keep their rows. Each group is stored as a tensor of its own, beside a byte
    per row that says in which group it is; of rows of zero bits nothing else is stored.

    Attributes:
        groups: the most important rows first; 1 to 16, whose shares add up to 1.
        norm: that importance is: 2 (default), Euclidean, or 1, the sum of magnitudes.
    """

    groups: tuple[RowGroup, ...]
    norm: Annotated[int, Range(1, 2)] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        total = sum(group.share for group in self.groups)
        if not 1 <= len(self.groups) <= MOST_GROUPS or abs(total - 1) > 1e-6:
            raise ValueError(
                f"groups must be 1 to {MOST_GROUPS} whose shares add up to 1, got {len(self.groups)} whose "
                f"shares add up to {total:g}"
            )

    def build(self, weight: Tensor, name: str = "") -> WeightQuantizer:
        return _Rows(self, weight, name)

    def counts(self, rows: int) -> list[int]:
        """How many of ``rows`` each group has; every row is in one."""
        shares = [*accumulate(group.share for group in self.groups[:-1])]
        return [end - begin for begin, end in pairwise([0, *(round(rows * each) for each in shares), rows])]
