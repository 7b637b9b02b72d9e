"""One trained network, asked at every step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainables.teachers.base import Teacher, TeacherPolicy


class _Frozen(TeacherPolicy):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> _Frozen:
        return super().train(False)  # a teacher in train mode would move its own statistics

    @torch.no_grad()
    def forward(self, batch: Any, progress: float) -> Tensor:
        return self.network(batch.inputs)


@dataclass(frozen=True)
class Fixed(Teacher):
    """The network that the recipe ``recipe_id`` produced, in eval mode (Hinton et al. 2015).

    Attributes:
        recipe_id: 16 hex digits, the identity of the teacher's own recipe.
    """

    recipe_id: str

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.recipe_id) != 16 or not set(self.recipe_id) <= set("0123456789abcdef"):
            raise ValueError(f"recipe_id must be 16 hex digits, got recipe_id={self.recipe_id!r}")

    def build(self, network: Callable[[str], nn.Module]) -> TeacherPolicy:
        return _Frozen(network(self.recipe_id))
