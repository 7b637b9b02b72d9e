"""What decision gates learn from the labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from trainables.lesson import Step
from trainables.losses.base import Loss
from trainables.losses.exits import OfExits
from trainables.probe import Probe
from trainables.ranges import Range
from trainables.schedules import Constant, Schedule


@dataclass(frozen=True)
class GateLoss(Loss):
    """The hinge loss of each gate, one class against the rest, summed over classes and gates.

    Shafiee et al. (2018) train their gates by a hinge loss and find it better than cross entropy. That it is
    one class against the rest is our choice: a gate's score of a class is to be at least 1 where it is the
    sample's, and at most -1 where it is not.

    Attributes:
        hinge: 1 (default) is the hinge loss, 0 is cross entropy in nats; both may be searched.
        weight: multiplier of the sum over training, in [0, 1000] throughout; default 1.
    """

    hinge: Annotated[int, Range(0, 1, (0, 1), name="gate_hinge")] = 1
    weight: Annotated[Schedule, Range(0.0, 1000.0)] = Constant(1.0)

    imitates: ClassVar[bool] = False

    def build(self, probe: Probe) -> nn.Module:
        """See the contract."""
        return OfExits(probe, self._of_one)

    def check_temperature(self, only: float | None) -> None:
        """No teacher is asked."""

    def _of_one(self, scores: Tensor, step: Step) -> Tensor:
        targets = step.batch.targets
        return hinge(scores, targets) if self.hinge else F.cross_entropy(scores, targets)


def hinge(scores: Tensor, targets: Tensor) -> Tensor:
    """Mean over samples of ``sum over classes of max(0, 1 - t * score)``, t being 1 for its class, else -1.

    Args:
        scores: shape (samples, classes).
        targets: numbers of classes, int64 of shape (samples,); or probabilities, shaped as the scores, whose
            largest is the class.
    """
    classes = targets.argmax(1) if targets.dim() == 2 else targets
    signs = 2 * F.one_hot(classes, scores.shape[1]).to(scores.dtype) - 1
    return F.relu(1 - signs * scores).sum(1).mean()
