"""Students of which most training samples have no label."""

from __future__ import annotations

from typing import Annotated

from trainables.losses import SoftTargets
from trainables.methods.setting import Setting, published
from trainables.optimizers import AdamW
from trainables.quantizers import NoQuantizer
from trainables.quantizers.base import Quantizer
from trainables.ranges import Range
from trainables.recipe import Recipe


@published("Chia et al. 2018", "answers")
def few_label_distillation(
    given: Setting,
    *,
    labelled: Annotated[float, Range(0.0, 1.0)] = 0.1,
    quantizer: Quantizer = NoQuantizer(),
    imitation: SoftTargets = SoftTargets(),
    optimizer: AdamW = AdamW(),
) -> Recipe:
    """A few labels, and a trained teacher's soft targets for all samples.

    The labels of a share ``labelled`` of the training samples are used, at 0 none; what else there is, is
    imitated alone. The paper's teacher is a large language model tuned on the few labels and its student a
    small convolutional network; here the teacher is the setting's, however it was trained, and the student's
    architecture is the origin's. The paper's loss was not to hand; this is that of knowledge distillation.
    The weights are stored as float32, or on their grid in every forward pass with a ``quantizer``.
    """
    phase = given.phase(optimizer, quantize=quantizer != NoQuantizer())
    return given.recipe(phase, quantizer=quantizer, imitation=imitation, labelled=labelled)
