"""A different activation quantizer for each name pattern."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self, cast

from trainables.activations.base import ActivationQuantizer, InputQuantizer
from trainables.by_name import ByName, Where
from trainables.part import Part


@dataclass(frozen=True)
class ActivationsByName(ByName[ActivationQuantizer], ActivationQuantizer):
    """The activation quantizer of the first rule that matches the name of a layer, such as ``2.3``."""

    family: ClassVar[type[Part]] = ActivationQuantizer

    def build(self, name: str = "") -> InputQuantizer | None:
        return self.part_for(name).build(name)

    def for_sums(self) -> Self:
        def summed(part: Part) -> Part:
            return cast(ActivationQuantizer, part).for_sums()

        rules = tuple(Where(rule.pattern, summed(rule.part)) for rule in self.rules)
        return replace(self, rules=rules, default=summed(self.default))
