"""A different pruner for each name pattern."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from trainables.by_name import ByName
from trainables.part import Part
from trainables.pruners.base import Mask, Pruner


@dataclass(frozen=True)
class PrunerByName(ByName[Pruner], Pruner):
    """The pruner of the first rule that matches a parameter's name: a sparsity of its own for each layer."""

    family: ClassVar[type[Part]] = Pruner

    def build(self, weight: Tensor, name: str = "") -> Mask:
        return self.part_for(name).build(weight, name)
