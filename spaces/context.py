"""What a study fixes before its space is searched."""

from __future__ import annotations

from dataclasses import dataclass

from spaces.architectures import Origins
from trainables.tasks.base import Task


@dataclass(frozen=True)
class Context:
    """The fixed part of every recipe of a sweep.

    Attributes:
        task: data set and metric.
        origins: how students may come to be, by the value of ``start``; sizes, brought into range, are those
            of the first trials. See :func:`spaces.architectures.fresh`.
        teacher_id: the trained teacher's ``recipe_id``.
        epochs: of every trial, at least 2.
        seed: of every trial.
        teacher_views: in how many views the teacher's outputs are remembered, at least 1; None asks it at
            every step.
        live_features: places in the teacher's network that are not remembered, see
            :class:`trainables.methods.setting.Setting`.
        lacking_features: places that it does not have.
        exit_layers: names of the layers after which early exits are; empty where methods spread them.
        teacher_route: names the checkpoints along the teacher's training, see
            :class:`trainables.methods.Setting`; None where there are none.
    """

    task: Task
    origins: Origins
    teacher_id: str
    epochs: int
    seed: int = 0
    teacher_views: int | None = 16
    teacher_route: str | None = ""
    live_features: tuple[str, ...] = ()
    lacking_features: tuple[str, ...] = ()
    exit_layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.epochs < 2:
            raise ValueError(f"epochs must be at least 2, got epochs={self.epochs}")
        if not self.origins:
            raise ValueError("there must be an origin of students, got origins=()")
