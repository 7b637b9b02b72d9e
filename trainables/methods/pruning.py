"""Students with fewer weights or channels, chosen by what the loss depends on."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from trainables.methods.computation import dense_and_sliced_macs
from trainables.methods.setting import Setting, published
from trainables.optimizers import AdamW
from trainables.origins import Slice
from trainables.pruners import Saliency, TargetedDropout
from trainables.recipe import Recipe

MOST = 2
"""How many times the epochs scratch-B trains at most, as published for ImageNet."""


@published("Gomez et al. 2019", "pruning")
def targeted_dropout(
    given: Setting, *, pruner: TargetedDropout = TargetedDropout(), optimizer: AdamW = AdamW()
) -> Recipe:
    """The smallest weights are dropped at random in every step, so that training can do without them.

    They are all removed at the end, as in the published evaluation. There the last layer keeps its weights;
    here every layer is pruned. ``rate`` 0 is plain training, pruned afterwards.
    """
    given = given.pruned_by(pruner)
    return given.recipe(given.phase(optimizer))


@published("SNIP, Lee et al. 2019", "pruning")
def snip_pruning(
    given: Setting, *, pruner: Saliency = Saliency(sparsity=0.9), optimizer: AdamW = AdamW()
) -> Recipe:
    """Pruned once, before the first step, by what the loss of some batches depends on least.

    The threshold is one for all layers, biases stay, and the loss is the task's own. Saliency is that of the
    weights that training begins with, where the published code draws others for it.
    """
    given = given.pruned_by(pruner)
    return given.recipe(given.phase(optimizer))


@published("Theis et al. 2018", "pruning")
def fisher_pruning(
    given: Setting,
    *,
    pruner: Saliency = Saliency("fisher", by="channels", updates=40),
    optimizer: AdamW = AdamW(),
) -> Recipe:
    """Channels go while it trains, those first without which the loss would grow least.

    As published the growth is estimated to second order, sample by sample, over the steps since channels went
    last; the papers let one channel go at a time, here as many go at once as the ramp asks for. ``cost`` is
    the published trade-off with multiply-accumulates.
    """
    given = given.pruned_by(pruner)
    return given.recipe(given.phase(optimizer))


@published("scratch-E, Liu et al. 2019", "pruning")
def scratch_e(given: Setting, *, optimizer: AdamW = AdamW()) -> Recipe:
    """The shape that pruning found, trained from new weights for as many epochs.

    The student's origin must be a slice of a trained network: its shape stays, its weights do not.
    """
    return given.recipe(given.phase(optimizer), origin=anew(given))


@published("scratch-B, Liu et al. 2019", "pruning")
def scratch_b(given: Setting, *, optimizer: AdamW = AdamW()) -> Recipe:
    """The shape that pruning found, trained from new weights for as much computation as the whole network.

    Epochs are multiplied by the whole network's multiply-accumulates over the slice's, both measured, rounded
    down and at most doubled, as published for ImageNet.
    """
    origin = anew(given)
    whole, left = dense_and_sliced_macs(origin, given.task)
    epochs = min(given.epochs * whole // left, MOST * given.epochs)
    return given.recipe(given.phase(optimizer, epochs), origin=origin)


def anew(given: Setting) -> Slice:
    """The setting's slice, with new weights."""
    if not given.origin.cuts:
        raise ValueError("it trains the shape of a slice of the teacher anew, and these students are none")
    return replace(cast(Slice, given.origin), restart=True)
