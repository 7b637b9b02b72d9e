"""Loss terms beyond the task's own; one per file."""

from trainables.losses.base import Loss
from trainables.losses.exits import ExitLoss
from trainables.losses.gates import GateLoss
from trainables.losses.soft_targets import SoftTargets

LOSSES: tuple[type[Loss], ...] = (SoftTargets, ExitLoss, GateLoss)
