"""What the students of one training teach each other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainables.answers import Answers, Distributions
from trainables.lesson import Lesson, Step
from trainables.memory import Memory
from trainables.part import check_choice
from trainables.tasks.base import LoadedTask, Task
from trainables.teachers.base import Sources, Teacher, TeacherPolicy

FORMULAS = ("mean", "authors")
EPSILON = 1e-8


@dataclass(frozen=True)
class All(Answers):
    """What several said: the distance is the mean of the distances to each of them; 0 where nobody spoke.

    Attributes:
        said: one answer per speaker.
    """

    said: tuple[Answers, ...]

    def distance(self, student: Tensor, temperature: float) -> Tensor:
        """See the contract."""
        if not self.said:
            return student.new_zeros(())
        return torch.stack([each.distance(student, temperature) for each in self.said]).mean()


@dataclass(frozen=True)
class AuthorsSum(Answers):
    """The distance of the authors' published code: a sum over the others, with 1e-8 inside the logarithm.

    Attributes:
        said: one answer per speaker, each with probabilities.
    """

    said: tuple[Distributions, ...]

    def distance(self, student: Tensor, temperature: float) -> Tensor:
        """See the contract; of each other student, the mean over rows of the sum over classes."""
        total = student.new_zeros(())
        for each in self.said:
            theirs, ours = (outcomes.exp() for outcomes in each.outcomes(student, temperature))
            terms = theirs * (EPSILON + theirs / (ours + EPSILON)).log()
            total = total + temperature**2 * terms.sum(-1).mean()
        return total


class _OfPeers(TeacherPolicy):
    def __init__(self, memory: Memory, formula: str) -> None:
        super().__init__()
        self._memory = memory
        self._sums = formula == "authors"

    def forward(self, step: Step) -> Lesson:
        said = [self._memory.heard(rows) for rows in step.peers]
        if self._sums:
            return Lesson(AuthorsSum(tuple(each for each in said if isinstance(each, Distributions))))
        return Lesson(All(tuple(said)))


@dataclass(frozen=True)
class Peers(Teacher):
    """The students that are trained together with this one, each imitated by itself (Zhang et al. 2018).

    What they say is from before the step's update, and a constant: ``KL(p_j || p_i)`` moves student i alone.

    Attributes:
        formula: ``mean`` (default), the paper's: the mean over the others; ``authors``, their TensorFlow
            code's: the sum over the others, with 1e-8 inside the logarithm and below the fraction. With
            large logits the 1e-8 alone changes the value by a fifth, so the paper's is the default.
    """

    formula: str = "mean"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "formula", FORMULAS)

    def build(self, sources: Sources, task: LoadedTask, student: nn.Module) -> TeacherPolicy:
        """See the contract.

        Raises:
            ValueError: the authors' formula, of outputs that are no classes.
        """
        if self.formula == "authors":
            check_classes(task.memory, "formula=authors")
        return _OfPeers(task.memory, self.formula)

    def view(self, epoch: int) -> None:
        """A fresh view in every epoch."""
        return None

    def temperature(self, task: Task) -> None:
        """Any."""
        return None


def check_classes(memory: Memory, what: str) -> None:
    """Raise ``ValueError`` unless a task's outputs are classes, which ``what`` needs."""
    if not memory.distributes:
        raise ValueError(f"{what} needs probabilities of classes, and the task's outputs are none")
