"""Weights -> few values; one quantizer per file."""

from trainables.quantizers.base import Quantizer
from trainables.quantizers.by_name import QuantizerByName
from trainables.quantizers.graded import Graded
from trainables.quantizers.learned_points import LearnedPoints
from trainables.quantizers.learned_step import LearnedStep
from trainables.quantizers.none import NoQuantizer
from trainables.quantizers.pseudo_noise import PseudoNoise
from trainables.quantizers.rows import Rows
from trainables.quantizers.symmetric import Symmetric
from trainables.quantizers.uniform import Uniform
from trainables.quantizers.zero import Zero

QUANTIZERS: tuple[type[Quantizer], ...] = (
    NoQuantizer,
    Uniform,
    LearnedPoints,
    Symmetric,
    LearnedStep,
    QuantizerByName,
    Rows,
    Zero,
    PseudoNoise,
    Graded,
)
