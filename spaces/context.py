"""What a study fixes before its space is searched."""

from __future__ import annotations

import math
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
        compute: what students that begin with trained weights may take each, in epochs of the whole network,
            see :func:`spaces.compute.epochs_for`; None gives all students ``epochs``, else that is the most.
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
    compute: float | None = None

    def __post_init__(self) -> None:
        if self.epochs < 2:
            raise ValueError(f"epochs must be at least 2, got epochs={self.epochs}")
        if self.compute is not None and not 0 < self.compute < math.inf:
            raise ValueError(f"compute must be above 0, got compute={self.compute}")
        if not self.origins:
            raise ValueError("there must be an origin of students, got origins=()")
