"""Apprentice: students of few bits that imitate a full-precision network, in its three schemes."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from trainables.losses import SoftTargets
from trainables.methods.distillation import late_epochs
from trainables.methods.setting import Setting, published
from trainables.optimizers import AdamW
from trainables.quantizers import Symmetric
from trainables.ranges import Range
from trainables.recipe import Recipe
from trainables.schedules import Constant, Schedule
from trainables.teachers import Joint

UNSOFTENED = SoftTargets(Constant(1.0), Constant(0.5))
"""The paper's best: the teacher's logits as they are, at the weight that the labels have."""


@published("Apprentice scheme A, Mishra & Marr 2018", "together")
def apprentice_joint(
    given: Setting,
    *,
    quantizer: Symmetric = Symmetric(4),
    imitation: SoftTargets = UNSOFTENED,
    optimizer: AdamW = AdamW(),
    teacher_width: Annotated[float, Range(1 / 16, 16)] = 1.0,
    teacher_weight: Schedule = Constant(1.0),
) -> Recipe:
    """A full-precision network and a student of few bits, trained together from the first step.

    The loss is the paper's: ``teacher_weight`` (its alpha) times the teacher's of the labels, plus that of
    the soft targets at their weight (gamma), plus the student's of the labels, which has the rest of that
    weight (beta). No gradient of one reaches the other. The teacher comes to be as the student does, at
    ``teacher_width`` times its width where its architecture has one; the paper's is deeper. The grid of the
    weights is symmetric with one scale per channel, which is this tool's and not the paper's.
    """
    return given.recipe(
        given.phase(optimizer, quantize=True),
        quantizer=quantizer,
        teacher=Joint(given.origin.scaled(teacher_width), given.task, teacher_weight),
        losses=(imitation,),
        task_weight=imitation.weight.rest(),
    )


@published("Apprentice scheme B, Mishra & Marr 2018", "distilled grid")
def apprentice_fixed(
    given: Setting,
    *,
    quantizer: Symmetric = Symmetric(4),
    imitation: SoftTargets = UNSOFTENED,
    optimizer: AdamW = AdamW(),
) -> Recipe:
    """A student of few bits from the first step, beside a teacher that is trained already.

    As in :func:`apprentice_joint`, but for the teacher, which stands still.
    """
    return given.recipe(given.phase(optimizer, quantize=True), quantizer=quantizer, imitation=imitation)


@published("Apprentice scheme C, Mishra & Marr 2018", "distilled grid")
def apprentice_refined(
    given: Setting,
    *,
    quantizer: Symmetric = Symmetric(4),
    imitation: SoftTargets = UNSOFTENED,
    optimizer: AdamW = AdamW(),
    quantized_epochs: int | None = None,
    quantized_learning_rate: float | None = None,
) -> Recipe:
    """A student in full precision, which then goes on with few bits at a lower rate: the paper's best.

    Both times it imitates the trained teacher. The last ``quantized_epochs`` (half, at least one, by default)
    are quantized, at ``quantized_learning_rate``, a tenth of the optimizer's by default. A student that
    begins as a whole trained network is quantized from the first step, unless ``quantized_epochs`` says
    otherwise: its full-precision training lies behind it. Pruning happens before the weights are quantized,
    or meanwhile in that case.
    """
    rate = 0.1 * optimizer.learning_rate if quantized_learning_rate is None else quantized_learning_rate
    slowly = replace(optimizer, learning_rate=rate)
    if given.origin.parent is not None and not given.origin.cuts and quantized_epochs is None:
        return given.recipe(given.phase(slowly, quantize=True), quantizer=quantizer, imitation=imitation)
    count = late_epochs(given, "quantized_epochs", quantized_epochs, 2)
    last = given.phase(slowly, count, prune=False, quantize=True)
    first = given.phase(optimizer, given.epochs - count)
    return given.recipe(first, last, quantizer=quantizer, imitation=imitation)
