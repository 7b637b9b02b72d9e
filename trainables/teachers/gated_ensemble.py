"""All students of one training, weighted by a gate that learns, as their teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.answers import Answers
from trainables.calling import main_output, with_main_output
from trainables.lesson import Lesson, Step
from trainables.ranges import Range
from trainables.tasks.base import LoadedTask, Task
from trainables.teachers.base import Sources, Teacher, TeacherPolicy
from trainables.teachers.peers import check_classes

RAISED = 1e-7


class Gate(nn.Module):
    """How much each student counts, row by row: linear, batch normalisation, ReLU, softmax.

    Args:
        features: size of what the gate sees of a row.
        students: how many there are.
    """

    def __init__(self, features: int, students: int) -> None:
        super().__init__()
        self.linear = nn.Linear(features, students)
        self.norm = nn.BatchNorm1d(students)

    def forward(self, features: Tensor) -> Tensor:
        """Weights, shape (rows, students), each row a distribution; of a lone row, which has no variance of
        its own, by what earlier batches had."""
        self.norm.train(self.training and len(features) > 1)
        return F.softmax(F.relu(self.norm(self.linear(features))), -1)


def combined(weights: Tensor, logits: Sequence[Tensor]) -> Tensor:
    """The logits of the ensemble: those of the students, each row weighted, shape (rows, classes)."""
    return sum((weights[:, [k]] * each for k, each in enumerate(logits)), torch.zeros(()))


@dataclass(frozen=True)
class Raised(Answers):
    """Logits whose probabilities are each raised by 1e-7 after the softmax, as in ONE's published code.

    Attributes:
        values: detached, shape (rows, classes).
    """

    values: Tensor

    def distance(self, student: Tensor, temperature: float) -> Tensor:
        """``T^2`` times the mean over rows of ``sum t (log t - log q)``; see the contract."""
        target = F.softmax(self.values / temperature, -1) + RAISED
        ours = F.log_softmax(student / temperature, -1)
        return temperature**2 * F.kl_div(ours, target, reduction="batchmean")


class _Gated(TeacherPolicy):
    def __init__(self, gate: Gate, task: LoadedTask) -> None:
        super().__init__(own={"gate": gate})
        self._task = task

    def forward(self, step: Step) -> Lesson:
        said = [step.logits, *step.peers]
        weights = self.own["gate"](torch.cat([each.detach() for each in said], -1).float())
        ensemble = combined(weights, said)
        batch, output = step.batch, main_output(step.output)
        rows = output.flatten(0, -2)
        whole = ensemble.to(rows.dtype)
        if batch.counted is not None:
            whole = rows.index_copy(0, batch.counted, whole)
        loss = self._task.loss(with_main_output(step.output, whole.view_as(output)), batch)
        return Lesson(Raised(ensemble.detach()), loss)


@dataclass(frozen=True)
class GatedEnsemble(Teacher):
    """All students that are trained together, weighted by a gate that learns (ONE, Lan et al. 2018).

    The ensemble has a loss of labels of its own, which trains the gate and this student. Other than
    published, students share no trunk: the gate sees what all of them say in place of the trunk's features,
    and each student has a gate of its own, since no gradient passes from one student to another.

    Attributes:
        students: how many are trained together, this one included.
        classes: of the task.
    """

    students: Annotated[int, Range(1, 64)]
    classes: Annotated[int, Range(1, 10_000_000)]

    def build(self, sources: Sources, task: LoadedTask, student: nn.Module) -> TeacherPolicy:
        """See the contract.

        Raises:
            ValueError: the task's outputs are no classes.
        """
        check_classes(task.memory, "a gated ensemble")
        return _Gated(Gate(self.students * self.classes, self.students), task)

    def view(self, epoch: int) -> None:
        """A fresh view in every epoch."""
        return None

    def temperature(self, task: Task) -> None:
        """Any."""
        return None
