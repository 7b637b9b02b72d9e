"""What a study fixes before its space is searched."""

from __future__ import annotations

from dataclasses import dataclass

from trainables.models.base import Model
from trainables.tasks.base import Task


@dataclass(frozen=True)
class Context:
    """The fixed part of every recipe of a sweep.

    Attributes:
        task: data set and metric.
        student: the student's architecture; its depth and width, brought into range, are those of the
            first trials.
        teacher_id: the trained teacher's ``recipe_id``.
        epochs: of every trial, at least 2.
        seed: of every trial.
        teacher_views: in how many views the teacher's outputs are remembered, at least 1; None asks it at
            every step.
        teacher: the teacher's architecture, where students may start from its weights; None where not.
    """

    task: Task
    student: Model
    teacher_id: str
    epochs: int
    seed: int = 0
    teacher_views: int | None = 16
    teacher: Model | None = None

    def __post_init__(self) -> None:
        if self.epochs < 2:
            raise ValueError(f"epochs must be at least 2, got epochs={self.epochs}")
