"""Loss terms beyond the task's own; one per file."""

from trainables.losses.attention import AttentionMaps
from trainables.losses.base import Loss
from trainables.losses.contrastive import Contrastive
from trainables.losses.exits import ExitLoss
from trainables.losses.gates import GateLoss
from trainables.losses.hints import Hints
from trainables.losses.similarity import Similarity
from trainables.losses.soft_targets import SoftTargets

LOSSES: tuple[type[Loss], ...] = (
    SoftTargets,
    Contrastive,
    Hints,
    AttentionMaps,
    Similarity,
    ExitLoss,
    GateLoss,
)
