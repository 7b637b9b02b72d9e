"""Inputs of layers -> few values; one activation quantizer per file."""

from trainables.activations.base import ActivationQuantizer
from trainables.activations.by_name import ActivationsByName
from trainables.activations.learned_clip import LearnedClip
from trainables.activations.moving_range import MovingRange
from trainables.activations.none import NoActivationQuantizer

ACTIVATIONS: tuple[type[ActivationQuantizer], ...] = (
    NoActivationQuantizer,
    MovingRange,
    LearnedClip,
    ActivationsByName,
)
