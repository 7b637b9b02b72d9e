"""A different quantizer for each name pattern: mixed precision."""

from __future__ import annotations

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
        parts = (self.default, *(rule.part for rule in self.rules))
        return any(cast(Quantizer, part).learns_size for part in parts)

    def build(self, weight: Tensor, name: str = "") -> WeightQuantizer:
        return self.part_for(name).build(weight, name)
