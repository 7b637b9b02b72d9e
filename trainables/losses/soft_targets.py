"""Hinton's soft targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor, nn

from trainables.lesson import Lesson, Step
from trainables.losses.base import Loss, check_answers
from trainables.probe import Probe
from trainables.ranges import Range
from trainables.schedules import Constant, Schedule


class _SoftTargets(nn.Module):
    def __init__(self, temperature: Schedule) -> None:
        super().__init__()
        self.temperature = temperature

    def forward(self, step: Step, lesson: Lesson) -> Tensor:
        return check_answers(lesson.answers).distance(step.logits, self.temperature(step.progress))


@dataclass(frozen=True)
class SoftTargets(Loss):
    """``T^2 * KL(softmax(teacher / T) || softmax(student / T))`` (Hinton et al. 2015).

    Averaged over the rows only (``batchmean``), the true KL divergence: over the images of a batch, or over
    its target tokens (word-level distillation, Kim & Rush 2016, usually at T = 1). The published quantized
    distillation code averaged over the classes as well, so its term is weaker by the number of
    classes at the same weight.

    Outputs that are no classes are imitated as the task says, by default by their mean squared error; the
    temperature then has no meaning.

    Attributes:
        temperature: T over training, in [0.1, 100] throughout; default 2.
        weight: multiplier of the term over training, in [0, 1000] throughout; default 0.7, the paper's
            mix.
    """

    temperature: Annotated[Schedule, Range(0.1, 100.0, (1.0, 10.0), log=True, name="temperature")] = Constant(
        2.0
    )
    weight: Annotated[Schedule, Range(0.0, 1000.0, (0.3, 0.95), name="distillation_weight")] = Constant(0.7)

    def build(self, probe: Probe) -> nn.Module:
        """See the contract."""
        return _SoftTargets(self.temperature)

    def check_temperature(self, only: float | None) -> None:
        """See the contract."""
        if only is not None and self.temperature.bounds() != (only, only):
            raise ValueError(
                f"the task remembers a teacher's outputs at temperature {only} alone, got "
                f"temperature={self.temperature}; use {only}, or ask the teacher at every step"
            )
