"""A different quantizer for each name pattern: mixed precision."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass

from torch import Tensor

from trainables.part import Part
from trainables.quantizers.base import Quantizer, WeightQuantizer


@dataclass(frozen=True)
class Where(Part):
    """``quantizer`` for the parameters whose name matches ``pattern`` (fnmatch, such as ``stages.0.*``)."""

    pattern: str
    quantizer: Quantizer


@dataclass(frozen=True)
class PerLayer(Quantizer):
    """The first of ``rules`` whose pattern matches a parameter's name quantizes it.

    Which widths go where is a space's business: this only carries them out. Zero bits are ``Zero()``.

    Attributes:
        rules: tried in order; each must match a parameter.
        default: for parameters that no rule matches.
    """

    rules: tuple[Where, ...]
    default: Quantizer

    def __post_init__(self) -> None:
        super().__post_init__()
        for part in (*(rule.quantizer for rule in self.rules), self.default):
            if isinstance(part, PerLayer):
                raise ValueError(f"a PerLayer cannot hold another one, got {part}")

    def build(self, weight: Tensor, name: str = "") -> WeightQuantizer:
        for rule in self.rules:
            if fnmatch.fnmatch(name, rule.pattern):
                return rule.quantizer.build(weight, name)
        return self.default.build(weight, name)

    def patterns(self) -> tuple[str, ...]:
        return tuple(rule.pattern for rule in self.rules)
