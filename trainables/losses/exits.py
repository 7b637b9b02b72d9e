"""What early exits learn from the labels, and perhaps from the last exit."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from trainables.lesson import Lesson, Step
from trainables.losses.base import Loss
from trainables.probe import Probe
from trainables.ranges import Range
from trainables.schedules import Constant, Schedule

Term = Callable[[Tensor, Step], Tensor]
"""Loss of one exit's logits, shape (rows, classes), at a step."""


class OfExits(nn.Module):
    """The sum over the early exits of a network, in their order, of a term of their logits.

    Args:
        probe: of a student with early exits.
        term: of each.
        weights: of the terms; empty are all 1.

    Raises:
        ValueError: there are no early exits, or not as many as weights.
    """

    def __init__(self, probe: Probe, term: Term, weights: Sequence[float] = ()) -> None:
        super().__init__()
        self._heads = [name for name in probe.student.names if re.fullmatch(r"heads\.\d+", name)]
        self._weights = tuple(weights) or (1.0,) * len(self._heads)
        self._probe = probe
        self._term = term
        if not self._heads:
            raise ValueError(
                "this loss is of early exits, and the student has none: give WithExits as origin"
            )
        if len(self._weights) != len(self._heads):
            raise ValueError(
                f"each of {len(self._heads)} early exits must have a weight, got weights={self._weights}"
            )
        for name in self._heads:
            probe.student.watch(name)

    def forward(self, step: Step, lesson: Lesson) -> Tensor:
        total = step.logits.new_zeros(())
        for name, weight in zip(self._heads, self._weights, strict=True):
            total = total + weight * self._term(step.batch.rows(self._probe.student[name]), step)
        return total


@dataclass(frozen=True)
class ExitLoss(Loss):
    """Cross entropy in nats of each early exit, summed over the exits (Teerapittayanon et al. 2016).

    The last exit's own is the task's loss. That early exits may also learn from the last one is our addition.

    Attributes:
        weight: multiplier of the sum over training, in [0, 1000] throughout; default 1.
        weights: further multipliers, one for each early exit in their order, at least 0; empty (default): 1.
        from_last: the part of an exit's targets that are the last exit's probabilities, without gradient, in
            place of the label, in [0, 1]; default 0.
    """

    weight: Annotated[Schedule, Range(0.0, 1000.0, (0.1, 1.0), name="exit_weight")] = Constant(1.0)
    weights: tuple[float, ...] = ()
    from_last: Annotated[float, Range(0.0, 1.0)] = 0.0

    imitates: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(weight >= 0 for weight in self.weights):
            raise ValueError(f"weights of exits must be at least 0, got weights={self.weights}")

    def build(self, probe: Probe) -> nn.Module:
        """See the contract."""
        return OfExits(probe, self._of_one, self.weights)

    def check_temperature(self, only: float | None) -> None:
        """No teacher is asked."""

    def _of_one(self, logits: Tensor, step: Step) -> Tensor:
        loss = F.cross_entropy(logits, step.batch.targets)
        if not self.from_last:
            return loss
        last = step.logits.detach().softmax(1)
        return (1 - self.from_last) * loss + self.from_last * F.cross_entropy(logits, last)
