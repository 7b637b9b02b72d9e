"""Students whose layers and channels have bits of their own."""

from __future__ import annotations

from trainables.losses import SoftTargets
from trainables.methods.distillation import late_epochs
from trainables.methods.setting import Setting, published
from trainables.optimizers import AdamW
from trainables.pruners import NoPruner
from trainables.quantizers import Graded
from trainables.recipe import Recipe


@published("AJPQ, Tang et al. 2020; bits as in HAQ, Wang et al. 2019", "bits")
def joint_pruning_quantization(
    given: Setting,
    *,
    quantizer: Graded = Graded(),
    imitation: SoftTargets = SoftTargets(),
    optimizer: AdamW = AdamW(),
    pruner: NoPruner = NoPruner(),
    quantized_epochs: int | None = None,
) -> Recipe:
    """Channels lose bits by their importance, and the least important lose all of them.

    Where students are slices, channels go first, by a profile of widths over depth, and are really removed;
    everywhere, rows of 0 bits go. The sum of magnitudes decides both, as slicing's default, ``l1``, has it. A
    trained network or a slice of one is quantized from the start; a new one for ``quantized_epochs`` of the
    epochs, half (at least one) by default, when there is an importance to go by. The paper's controllers are
    trained by rewards; here any sampler finds their numbers. No other pruning stands beside it.
    """
    given = given.pruned_by(pruner)
    trained = given.origin.parent is not None and quantized_epochs is None
    count = given.epochs if trained else late_epochs(given, "quantized_epochs", quantized_epochs, 2)
    first = () if trained else (given.phase(optimizer, given.epochs - count),)
    return given.recipe(
        *first, given.phase(optimizer, count, quantize=True), quantizer=quantizer, imitation=imitation
    )
