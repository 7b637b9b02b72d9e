"""A different quantizer for each name pattern: mixed precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, cast

from torch import Tensor

from trainables.by_name import ByName
from trainables.part import Part
from trainables.quantizers.base import Quantizer, WeightQuantizer


@dataclass(frozen=True)
class QuantizerByName(ByName[Quantizer], Quantizer):
    """The quantizer of the first rule that matches a parameter's name; zero bits are ``Zero()``."""

    family: ClassVar[type[Part]] = Quantizer

    @property
    def learns_size(self) -> bool:
        parts = cast(tuple[Quantizer, ...], (self.default, *(rule.part for rule in self.rules)))
        return any(part.learns_size for part in parts)

    def over(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Quantizer]:
        """What each part, given the tensors that are its own, quantizes them with."""
        owners = {name: self.part_for(name) for name in shapes}
        found: dict[str, Quantizer] = {}
        for part in dict.fromkeys(owners.values()):
            found |= part.over({name: shape for name, shape in shapes.items() if owners[name] == part})
        return found

    def build(self, weight: Tensor, name: str = "") -> WeightQuantizer:
        return self.part_for(name).build(weight, name)
