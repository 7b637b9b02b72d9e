"""Full-precision activations."""

from __future__ import annotations

from dataclasses import dataclass

from trainables.activations.base import ActivationQuantizer


@dataclass(frozen=True)
class NoActivationQuantizer(ActivationQuantizer):
    """Layers see their inputs in float32."""

    def build(self) -> None:
        return None
