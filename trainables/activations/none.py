"""Full-precision activations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from trainables.activations.base import ActivationQuantizer


@dataclass(frozen=True)
class NoActivationQuantizer(ActivationQuantizer):
    """Layers see their inputs in float32."""

    def build(self, name: str = "") -> None:
        return None

    def for_sums(self) -> Self:
        return self
