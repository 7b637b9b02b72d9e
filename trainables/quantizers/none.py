"""Full precision."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from trainables.quantizers.base import Dense, Quantizer, WeightQuantizer, scatter_kept


class _Identity(WeightQuantizer):
    def forward(self, weight: Tensor) -> Tensor:
        return weight

    def encode(self, weight: Tensor, shape: tuple[int, ...], keep: Tensor | None) -> Dense:
        values = scatter_kept(weight.detach(), keep, shape).cpu().clone()
        return Dense(values, None if keep is None else keep.cpu())


@dataclass(frozen=True)
class NoQuantizer(Quantizer):
    """Weights stay float32."""

    def build(self, weight: Tensor, name: str = "") -> WeightQuantizer:
        return _Identity()
