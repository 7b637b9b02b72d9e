"""Nothing is pruned."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from trainables.pruners.base import Mask, Pruner


class _KeepAll(Mask):
    def update(self, weight: Tensor, gradient: Tensor | None, progress: float) -> None:
        pass

    def current(self) -> None:
        return None

    def shipped(self, weight: Tensor) -> None:
        return None


@dataclass(frozen=True)
class NoPruner(Pruner):
    """Every weight stays."""

    def build(self, weight: Tensor, name: str = "") -> Mask:
        return _KeepAll()
