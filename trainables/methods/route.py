"""Students that follow the way that the teacher itself went."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from trainables.losses import SoftTargets
from trainables.methods.setting import Setting, published
from trainables.optimizers import AdamW
from trainables.quantizers import NoQuantizer
from trainables.quantizers.base import Quantizer
from trainables.ranges import Range
from trainables.recipe import Recipe
from trainables.teachers.route import EQUAL, GREEDY, Route

Anchors = Annotated[int, Range(1, 64, (1, 8), name="anchors")]


@published("RCO with equal epoch intervals, Jin et al. 2019", "answers")
def route_constrained_optimization(
    given: Setting,
    *,
    anchors: Anchors = 4,
    imitation: SoftTargets = SoftTargets(),
    optimizer: AdamW = AdamW(),
    quantizer: Quantizer = NoQuantizer(),
) -> Recipe:
    """Soft targets of the teacher as it was along its training, one checkpoint after the other.

    ``anchors`` checkpoints at equal distances, the last of them the trained teacher. The epochs are shared
    out among them, so the student trains as long as in ordinary distillation; with each anchor the optimizer
    begins anew. One anchor is ordinary distillation, and there is at most one for each epoch. Stored as
    float32, or quantized from the start by ``quantizer``.
    """
    return _along(
        given, Route(given.known_teacher, _no_more(anchors, given), EQUAL), imitation, optimizer, quantizer
    )


@published("RCO with greedy search, Jin et al. 2019", "answers")
def greedy_route(
    given: Setting,
    *,
    anchors: Anchors = 4,
    threshold: Annotated[float, Range(0.0, 1e9, (1.0, 2.0), log=True, name="threshold")] = 1.2,
    imitation: SoftTargets = SoftTargets(),
    optimizer: AdamW = AdamW(),
    quantizer: Quantizer = NoQuantizer(),
) -> Recipe:
    """As with equal intervals, but the student decides how far along the teacher's training it goes.

    As each phase begins, the next anchor is the last checkpoint from which the student's answers on
    validation data are at most ``threshold`` times as far as from the anchor before (our choice: the paper's
    exact criterion could not be verified). The paper trains for as long as the search asks, about four times
    the epochs of ordinary distillation; here the epochs are given, and the last phase imitates the trained
    teacher whatever it finds.
    """
    part = Route(given.known_teacher, _no_more(anchors, given), GREEDY, threshold)
    return _along(given, part, imitation, optimizer, quantizer)


def _no_more(anchors: int, given: Setting) -> int:
    """``anchors``, or as many as there are epochs."""
    return max(1, min(anchors, given.epochs))


def _along(
    given: Setting, part: Route, imitation: SoftTargets, optimizer: AdamW, quantizer: Quantizer
) -> Recipe:
    """The recipe of as many phases as there are anchors, the first ones an epoch longer where one is left.

    Raises:
        ValueError: the teacher has no checkpoints along its training.
    """
    if given.teacher_route is None:
        raise ValueError("it needs checkpoints along the teacher's training, and this one was given trained")
    shared, left = divmod(given.epochs, part.anchors)
    phases = [
        given.phase(optimizer, shared + (number < left), quantize=quantizer != NoQuantizer())
        for number in range(part.anchors)
    ]
    return given.recipe(
        *phases,
        quantizer=quantizer,
        imitation=imitation,
        teacher=replace(part, checkpoints=given.teacher_route),
    )
