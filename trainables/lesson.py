"""One training step as teachers and losses see it, and what a teacher says to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from trainables.answers import Answers
from trainables.batch import Batch


@dataclass(frozen=True)
class Step:
    """What is known of one step of one student's training.

    Attributes:
        batch: its inputs and targets.
        output: all that the student answered to ``batch.inputs``, with its gradient; padding included. What
            it returns in training mode alone, such as auxiliary heads' answers, is in it.
        logits: the rows of its main output that count, shape (rows, classes), with their gradient.
        peers: what the other students of the same training answered, as ``logits`` and without gradient,
            in an order that does not depend on whose result the training is; empty where a student trains
            alone.
        progress: of the whole training, in [0, 1].
    """

    batch: Batch
    output: Any
    logits: Tensor
    peers: tuple[Tensor, ...]
    progress: float


@dataclass(frozen=True)
class Lesson:
    """What a teacher says to one step.

    Attributes:
        answers: what to imitate in the rows that count; None where nobody is imitated.
        loss: what the teacher's own networks have to learn at this step, a scalar that is added to the
            student's loss; None where nothing of the teacher learns.
    """

    answers: Answers | None = None
    loss: Tensor | None = None
