"""Weights -> few values; one quantizer per file."""

from trainables.quantizers.base import Quantizer
from trainables.quantizers.learned_points import LearnedPoints
from trainables.quantizers.none import NoQuantizer
from trainables.quantizers.uniform import Uniform

QUANTIZERS: tuple[type[Quantizer], ...] = (NoQuantizer, Uniform, LearnedPoints)
