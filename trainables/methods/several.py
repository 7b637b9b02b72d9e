"""One student that serves several tasks."""

from __future__ import annotations

from trainables.losses import SoftTargets
from trainables.methods.setting import Setting, published
from trainables.optimizers import AdamW
from trainables.quantizers import NoQuantizer
from trainables.quantizers.base import Quantizer
from trainables.recipe import Recipe
from trainables.schedules import Constant, Linear, Schedule
from trainables.tasks import MultiTask
from trainables.teachers import Several


@published("BAM, Clark et al. 2019", "tasks")
def multi_task_annealing(
    given: Setting,
    *,
    teachers: tuple[str, ...] = (),
    labels: Schedule = Linear(0.0, 1.0),
    optimizer: AdamW = AdamW(),
    quantizer: Quantizer = NoQuantizer(),
) -> Recipe:
    """One student of several tasks imitates a teacher of each, and ends on the labels.

    ``teachers`` are recipes' ids, one for each task of a ``MultiTask``; empty for a task that is learnt from
    its labels alone, as of numbers that are no classes, where the paper found no gain. Without ``teachers``
    the setting's teacher, of all tasks, teaches each of them: multi to multi, where the paper found single to
    multi better. ``labels`` is the share of the labels over training. Rates per layer, warm-up and dropout
    are the paper's for transformers and are not part of it.
    """
    if not isinstance(given.task, MultiTask):
        raise ValueError(f"this method is for several tasks, got one: {type(given.task).__name__}")
    known = teachers or (given.known_teacher,) * len(given.task.tasks)
    if len(known) != len(given.task.tasks):
        raise ValueError(f"there must be a teacher for each of {len(given.task.tasks)} tasks, got {teachers}")
    return given.recipe(
        given.phase(optimizer, quantize=quantizer != NoQuantizer()),
        quantizer=quantizer,
        teacher=Several(known, max(1, given.epochs), labels),
        losses=(SoftTargets(Constant(1.0), Constant(1.0)),),
        task_weight=Constant(0.0),
    )
