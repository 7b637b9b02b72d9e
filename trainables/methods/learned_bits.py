"""Methods that learn how many bits weights have."""

from __future__ import annotations

from trainables.methods.setting import Setting, published
from trainables.optimizers import AdamW
from trainables.quantizers import PseudoNoise
from trainables.recipe import Recipe


@published("DiffQ, Défossez et al. 2022", "bits")
def pseudo_quantization_noise(
    given: Setting, *, quantizer: PseudoNoise = PseudoNoise(), optimizer: AdamW = AdamW()
) -> Recipe:
    """Weights and the bits of their groups are trained together, under noise of the size of rounding errors.

    The loss has a price for each MB of size, so bits fall where they do little for it. Weights of two or more
    dimensions are quantized; biases and normalisation stay in float16. Nobody is imitated, as in the paper.
    """
    phase = given.phase(optimizer, train="all", quantize=True)
    return given.recipe(phase, quantizer=quantizer)
