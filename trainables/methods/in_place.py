"""Students that imitate themselves."""

from __future__ import annotations

from dataclasses import replace

from trainables.losses import SoftTargets
from trainables.methods.distillation import late_epochs
from trainables.methods.setting import Setting, published
from trainables.optimizers import AdamW
from trainables.pruners import Magnitude
from trainables.pruners.base import Pruner
from trainables.quantizers import LearnedStep, Symmetric
from trainables.recipe import Recipe
from trainables.teachers import Unpruned


@published("PQK, Kim et al. 2021", "pruning")
def in_place_distillation(
    given: Setting,
    *,
    quantizer: LearnedStep | Symmetric = LearnedStep(),
    pruner: Pruner = Magnitude(0.8),
    imitation: SoftTargets = SoftTargets(),
    optimizer: AdamW = AdamW(),
    quantized_teacher: bool = True,
    distilled_epochs: int | None = None,
) -> Recipe:
    """Pruned and quantized at once, then taught by the same network with its pruned weights put back.

    There is no pretrained teacher. In a first phase the weights are pruned gradually while they are on their
    grid, from labels alone. In a second, the last ``distilled_epochs`` (half, at least one, by default), the
    mask stands still and the student imitates its own network without the mask, whose weights are quantized
    (or not, without ``quantized_teacher``). With w the weight of the imitation, the loss of that phase is
    that of the labels plus w times the soft targets' plus w times the teacher's own loss of the labels: at
    weight 0 it is fine-tuning. Important weights move by all of it, pruned ones by the teacher's own alone.

    Of the paper, only what its abstract says was to hand: the ramp of the sparsity, the quantizer, the form
    of the loss and its weights are choices of ours. In the first phase there is no weight decay: it would go
    on where a pruned weight has no gradient, and wear away what the teacher is made of.
    """
    given = given.pruned_by(pruner)
    count = late_epochs(given, "distilled_epochs", distilled_epochs, 2)
    first = replace(optimizer, weight_decay=0.0)
    return given.recipe(
        given.phase(first, given.epochs - count, train="all", quantize=True),
        given.phase(optimizer, count, train="all", prune=False, quantize=True),
        quantizer=quantizer,
        teacher=Unpruned((given.epochs - count) / given.epochs, quantized_teacher, imitation.weight),
        losses=(imitation,),
    )
