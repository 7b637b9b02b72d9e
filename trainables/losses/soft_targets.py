"""Hinton's soft targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from trainables.losses.base import Loss, check_targets
from trainables.schedules import Constant, Schedule, check_bounds


class _SoftTargets(nn.Module):
    def __init__(self, temperature: Schedule) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, student: Tensor, teacher: Tensor | None, batch: Any, progress: float) -> Tensor:
        target = check_targets(student, teacher)
        temperature = self.temperature(progress)
        log_q = F.log_softmax(student / temperature, dim=-1)
        log_p = F.log_softmax(target / temperature, dim=-1)
        return temperature**2 * F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)


@dataclass(frozen=True)
class SoftTargets(Loss):
    """``T^2 * KL(softmax(teacher / T) || softmax(student / T))`` (Hinton et al. 2015).

    Averaged over the batch only (``batchmean``), the true KL divergence. The published quantized
    distillation code averaged over the classes as well, so its term is weaker by the number of
    classes at the same weight.

    Attributes:
        temperature: T over training, in [0.1, 100] throughout; default 2.
        weight: multiplier of the term over training, in [0, 1000] throughout; default 0.7, the paper's
            mix.
    """

    temperature: Schedule = Constant(2.0)
    weight: Schedule = Constant(0.7)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bounds("temperature", self.temperature, 0.1, 100.0)
        check_bounds("weight", self.weight, 0.0, 1000.0)

    def build(self) -> nn.Module:
        """See the contract."""
        return _SoftTargets(self.temperature)
