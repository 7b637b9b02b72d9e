"""A different pruner for each name pattern."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, cast

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

    @property
    def cuts(self) -> bool:
        return any(cast(Pruner, part).cuts for part in (*(rule.part for rule in self.rules), self.default))

    def decide(self, masks: Mapping[str, Mask], progress: float) -> None:
        groups: dict[Pruner, dict[str, Mask]] = {}
        for name, mask in masks.items():
            groups.setdefault(self.part_for(name), {})[name] = mask
        for part, group in groups.items():
            part.decide(group, progress)
