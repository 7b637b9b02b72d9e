"""Inputs of layers -> few values; one activation quantizer per file."""

from trainables.activations.base import ActivationQuantizer
from trainables.activations.none import NoActivationQuantizer

ACTIVATIONS: tuple[type[ActivationQuantizer], ...] = (NoActivationQuantizer,)
