"""Students of few bits that imitate nobody."""

from __future__ import annotations

from dataclasses import replace

from trainables.activations import LearnedClip, MovingRange
from trainables.methods.distillation import late_epochs
from trainables.methods.setting import Setting, published
from trainables.optimizers import AdamW
from trainables.quantizers import LearnedStep, Symmetric, Uniform
from trainables.recipe import Recipe


@published('the "post-mortem" of Polino et al. 2018', "rounding")
def post_training_quantization(
    given: Setting, *, quantizer: Uniform = Uniform(8), optimizer: AdamW = AdamW()
) -> Recipe:
    """Full-precision training, then one rounding to a uniform grid per bucket."""
    return given.recipe(given.phase(optimizer), quantizer=quantizer)


@published("the baseline of Nagel et al. 2020, section 3", "rounding")
def round_to_nearest(given: Setting, *, quantizer: Uniform = Uniform(8)) -> Recipe:
    """The weights of a trained network, rounded as they are to a uniform grid per bucket: no training at all.

    Where it is pruned, the smallest weights go at once. A network that is not trained yet is refused.
    """
    if given.origin.parent is None:
        raise ValueError("it rounds a trained network, and a new one is none")
    return given.recipe(given.phase(AdamW(), 0, prune=False), quantizer=quantizer)


@published("LSQ, Esser et al. 2020", "grid")
def learned_step_quantization(
    given: Setting,
    *,
    quantizer: LearnedStep = LearnedStep(),
    optimizer: AdamW = AdamW(),
    quantized_epochs: int | None = None,
    quantized_learning_rate: float | None = None,
) -> Recipe:
    """A trained network goes on with quantized weights whose steps are learned.

    ``quantized_epochs`` of the epochs are quantized, half (at least one) by default, at
    ``quantized_learning_rate``, half of the optimizer's by default. Pruning happens before: the grid has
    an exact zero, so pruned weights cost no mask. Inputs of layers stay in full precision.
    """
    count = late_epochs(given, "quantized_epochs", quantized_epochs, 2)
    rate = 0.5 * optimizer.learning_rate if quantized_learning_rate is None else quantized_learning_rate
    last = given.phase(replace(optimizer, learning_rate=rate), count, train="all", prune=False, quantize=True)
    return given.recipe(given.phase(optimizer, given.epochs - count), last, quantizer=quantizer)


@published("Jacob et al. 2018", "rounding")
def int8_post_training_quantization(given: Setting, *, optimizer: AdamW = AdamW()) -> Recipe:
    """Full-precision training, then 8-bit weights and inputs of layers, for integer hardware.

    Weights get one symmetric scale per output channel, inputs of layers one range each, calibrated on 512
    training inputs whenever the student is packed. Exported as ONNX it is int8.
    """
    return given.recipe(given.phase(optimizer), quantizer=Symmetric(), activations=MovingRange())


@published("Jacob et al. 2018", "grid")
def quantization_aware_training(
    given: Setting,
    *,
    quantizer: Symmetric = Symmetric(),
    activations: MovingRange = MovingRange(),
    optimizer: AdamW = AdamW(),
    quantized_epochs: int | None = None,
    quantized_learning_rate: float | None = None,
) -> Recipe:
    """A trained network goes on with quantized weights and inputs of layers.

    Symmetric weights per output channel, moving averages of the inputs' ranges, gradients straight through.
    ``quantized_epochs`` of the epochs are quantized, a quarter (at least one) by default, at
    ``quantized_learning_rate``, a tenth of the optimizer's by default. As in the paper, the weights that are
    quantized have their batch normalisation folded in, and so do those of other methods with these weights
    and quantized inputs; how that differs from the paper, :mod:`trainables.compression.ahead` says. Sums,
    concatenations, poolings and activations are found in the network's graph and read few levels too.
    """
    count = late_epochs(given, "quantized_epochs", quantized_epochs, 4)
    rate = 0.1 * optimizer.learning_rate if quantized_learning_rate is None else quantized_learning_rate
    last = given.phase(replace(optimizer, learning_rate=rate), count, prune=False, quantize=True)
    first = given.phase(optimizer, given.epochs - count)
    return given.recipe(first, last, quantizer=quantizer, activations=activations)


@published("PACT, Choi et al. 2018", "grid")
def parameterized_clipping(
    given: Setting,
    *,
    quantizer: LearnedStep = LearnedStep(),
    activations: LearnedClip = LearnedClip(),
    optimizer: AdamW = AdamW(),
) -> Recipe:
    """Inputs of layers are clipped where training says, quantized from the start.

    The weights' steps are learned as in LSQ, where the paper quantizes them as DoReFa does, and all layers
    are quantized, where the paper leaves out the first and the last. Clips start at what a calibration sees.
    """
    phase = given.phase(optimizer, train="all", quantize=True)
    return given.recipe(phase, quantizer=quantizer, activations=activations)
