"""Which checkpoints along a training are kept, and which of them are the anchors of a student."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.utils import parametrize

from trainables.calling import call, main_output
from trainables.modes import evaluating
from trainables.tasks.base import LoadedTask

CHECKPOINTS = 16
"""That a teacher's training keeps at most: enough for 2, 4 and 8 anchors at equal distances."""

SAMPLES = 1024
"""Of the validation split, or a batch more, by which greedy search tells how hard a checkpoint is."""


def route_epochs(epochs: int) -> tuple[int, ...]:
    """After which of a training's ``epochs`` its network is kept: at equal distances, and at the end."""
    count = min(CHECKPOINTS, epochs)
    return tuple(-(-epochs * number // count) for number in range(1, count + 1))


def equal_anchors(checkpoints: int, anchors: int) -> tuple[int, ...]:
    """Which of so many checkpoints are the anchors at equal distances, from 0; the last one is the last."""
    count = min(anchors, checkpoints)
    return tuple(-(-number * checkpoints // count) - 1 for number in range(1, count + 1))


def farthest(hardness: Sequence[float], current: int | None, threshold: float) -> int:
    """The next anchor of greedy search, as a number of a checkpoint.

    Args:
        hardness: of each checkpoint, for the student as it is.
        current: the last anchor; None at the start, where what is hard is compared with the first checkpoint.
        threshold: so many times as hard as the current anchor may the next one be.

    Returns:
        The last checkpoint that is not too hard; the next one where all are.
    """
    first = 0 if current is None else min(current + 1, len(hardness) - 1)
    bound = threshold * hardness[current or 0]
    return max([first, *(n for n in range(first, len(hardness)) if hardness[n] <= bound)])


@torch.no_grad()
def hardness(student: nn.Module, checkpoint: nn.Module, task: LoadedTask) -> float:
    """How far the student's answers on validation data are from a checkpoint's: the congruence loss.

    The Kullback-Leibler divergence of its rows at a temperature of 1, in nats; of outputs that are no classes
    what the task measures instead.

    Args:
        student: stays in its own mode.
        checkpoint: is moved to the task's device.
        task: its validation split gives up to :data:`SAMPLES` samples, or a batch more; no label is used.
    """
    checkpoint.to(task.device)
    total, rows, samples = 0.0, 0, 0
    for batch in task.in_order("validation"):
        with evaluating(student), evaluating(checkpoint), parametrize.cached():
            ours = batch.rows(main_output(call(student, batch.inputs)))
            theirs = batch.rows(call(checkpoint, batch.inputs))
        total += float(task.memory.heard(theirs).distance(ours, 1.0)) * len(ours)
        rows, samples = rows + len(ours), samples + len(batch.index)
        if samples >= SAMPLES:
            break
    return total / rows
