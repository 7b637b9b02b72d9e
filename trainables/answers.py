"""What a teacher answered to a batch, row by row.

A row is one distribution over the classes of a task: an image has one, a sentence one per target token.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class Answers(ABC):
    """The rows that a student is to imitate, detached."""

    @abstractmethod
    def distance(self, student: Tensor, temperature: float) -> Tensor:
        """How far the student is from the teacher, a scalar averaged over the rows, with its gradient.

        Args:
            student: its rows, of the teacher's shape.
            temperature: that both sides' logits are divided by, where there are logits.

        Raises:
            ValueError: the student's rows are not the teacher's, or the answers do not have what the
                temperature takes.
        """


class Distributions(Answers):
    """Rows of probabilities; their distance is Hinton's: ``T^2 * KL(teacher || student)``, both softened."""

    def distance(self, student: Tensor, temperature: float) -> Tensor:
        """See the contract."""
        log_p, log_q = self.outcomes(student, temperature)
        return temperature**2 * F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)

    @abstractmethod
    def outcomes(self, student: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """Log-probabilities that teacher and student give to the same outcomes, softened.

        Args:
            student: its logits, shape (rows, classes).
            temperature: that both sides' logits are divided by.

        Returns:
            The teacher's and the student's, both of shape (rows, outcomes), each row a distribution.

        Raises:
            ValueError: the student's rows are not the teacher's, or the answers do not have what the
                temperature takes.
        """


@dataclass(frozen=True)
class Logits(Distributions):
    """Whole answers: every class is an outcome.

    Attributes:
        values: shape (rows, classes).
    """

    values: Tensor

    def outcomes(self, student: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """See the contract; at any temperature."""
        if student.shape != self.values.shape:
            raise ValueError(
                "student and teacher outputs differ in shape: "
                f"{tuple(student.shape)} and {tuple(self.values.shape)}"
            )
        return F.log_softmax(self.values / temperature, -1), F.log_softmax(student / temperature, -1)


@dataclass(frozen=True)
class TopClasses(Distributions):
    """The classes the teacher found most probable; all others together are one more outcome.

    Their KL divergence is that of the whole distributions after all other classes have been merged into
    one, so it never exceeds it (data processing inequality; Cover & Thomas 2006, section 2.8).

    Attributes:
        log_probabilities: shape (rows, k + 1), the last column that of all others; (rows, k) where k
            classes are all there are.
        classes: int64, shape (rows, k), different ones in each row.
    """

    log_probabilities: Tensor
    classes: Tensor

    def outcomes(self, student: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """See the contract; at temperature 1 alone, because the others' softened mass is not known."""
        if temperature != 1.0:
            raise ValueError(
                f"the teacher's {self.classes.shape[1]} most probable classes were kept at temperature 1.0, "
                f"so soft targets cannot be formed at {temperature=}"
            )
        merged = merge(student, self.classes)
        if merged.shape != self.log_probabilities.shape:
            raise ValueError(
                "student and teacher outcomes differ in shape: "
                f"{tuple(merged.shape)} and {tuple(self.log_probabilities.shape)}"
            )
        return self.log_probabilities, merged


@dataclass(frozen=True)
class Silence(Answers):
    """No answers at all: nothing to imitate, so no distance and no gradient."""

    def distance(self, student: Tensor, temperature: float) -> Tensor:
        """0."""
        return student.new_zeros(())


@dataclass(frozen=True)
class Values(Answers):
    """Outputs that are no classes, such as positions or pictures.

    Attributes:
        values: what the teacher answered, shape (n, ...).
        measure: ``(student, teacher) -> scalar``; how far they are apart.
    """

    values: Tensor
    measure: Callable[[Tensor, Tensor], Tensor]

    def distance(self, student: Tensor, temperature: float) -> Tensor:
        """See the contract; the temperature has no meaning here."""
        if student.shape != self.values.shape:
            raise ValueError(
                "student and teacher outputs differ in shape: "
                f"{tuple(student.shape)} and {tuple(self.values.shape)}"
            )
        return self.measure(student, self.values)


@dataclass(frozen=True)
class Heads(Answers):
    """What a teacher says to several tasks at once, side by side in a row; the mean of their distances.

    Attributes:
        answers: of each task; None of one to which nothing is said.
        widths: how many numbers of a row each task has.
    """

    answers: tuple[Answers | None, ...]
    widths: tuple[int, ...]

    def distance(self, student: Tensor, temperature: float) -> Tensor:
        """See the contract."""
        ours = student.split(self.widths, -1)
        told = [(own, answer) for own, answer in zip(ours, self.answers, strict=True) if answer is not None]
        return torch.stack([answer.distance(own, temperature) for own, answer in told]).mean()


@dataclass(frozen=True)
class Mixed(Answers):
    """The labels for one part and a teacher's answers for the rest (BAM, Clark et al. 2019).

    With cross entropy at a temperature of 1, or with squared errors, its gradient is that of the published
    mixed target, ``share * label + (1 - share) * answer``. What does not depend on the student is left out.

    Attributes:
        share: of the labels, in [0, 1].
        labels: the task's own loss at this step, a scalar with its gradient.
        answers: of the teacher; None where there is none: then the labels are all.
    """

    share: float
    labels: Tensor
    answers: Answers | None

    def distance(self, student: Tensor, temperature: float) -> Tensor:
        """See the contract."""
        if self.answers is None:
            return self.labels
        rest = self.answers.distance(student, temperature)
        return self.share * self.labels + (1.0 - self.share) * rest


def merge(logits: Tensor, classes: Tensor) -> Tensor:
    """Log-probabilities of ``classes``, and of all others together if there are any.

    Args:
        logits: shape (rows, all classes); half precision is computed in single.
        classes: int64, shape (rows, k), different ones in each row.

    Returns:
        Shape (rows, k + 1), the last column that of all others; (rows, k) where k classes are all.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if classes.shape[1] == logits.shape[1]:
        return F.log_softmax(logits.gather(1, classes), 1)
    return _Merge.apply(logits, classes)


class _Merge(torch.autograd.Function):
    """The classes and all others, with a backward pass that walks over all classes once.

    The others are added up themselves: 1 minus the sum of the classes is all rounding where that sum is
    nearly 1.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, classes: Tensor) -> Tensor:
        chosen = logits.gather(1, classes)
        others = logits.scatter(1, classes, float("-inf"))
        peak = others.amax(1, keepdim=True)
        others.sub_(peak).exp_()
        rest = others.sum(1, keepdim=True)
        outcomes = torch.cat([chosen, peak + rest.log()], 1)
        total = outcomes.logsumexp(1, keepdim=True)
        ctx.save_for_backward(others, rest, (peak - total).exp(), (chosen - total).exp(), classes)
        return outcomes - total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (gradient,) = gradients
        others, rest, unit, probabilities, classes = ctx.saved_tensors
        together = gradient.sum(1, keepdim=True)
        pulled = others * (gradient[:, -1:] / rest - together * unit)
        return pulled.scatter_(1, classes, gradient[:, :-1] - together * probabilities), None
