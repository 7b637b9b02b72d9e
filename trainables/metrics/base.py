"""What a metric is: a name, a direction, a unit and a meaning. Imports nothing heavy."""

from __future__ import annotations

import math
from dataclasses import dataclass

GOALS = ("up", "down")
VALIDATION = "validation_"
"""Begins the names of what is measured on the validation split, which selects."""


@dataclass(frozen=True)
class Metric:
    """One number that a trial reports.

    Attributes:
        name: under which it is logged.
        label: what a chart's axis says.
        goal: ``up`` if more is better, ``down`` if less is.
        unit: of the number; empty for plain numbers and shares.
        meaning: a sentence or two.
        whole: whether it is always a whole number; default False.
    """

    name: str
    label: str
    goal: str
    unit: str
    meaning: str
    whole: bool = False

    def __post_init__(self) -> None:
        _check_goal(self.goal)


@dataclass(frozen=True)
class Quality:
    """How good a network is at its task, and how people read that number.

    It is logged twice: under its name for the test split, which is measured once at the end, and with
    ``validation_`` before it for the validation split, measured after every epoch.

    Attributes:
        name: the key of :meth:`trainables.tasks.base.LoadedTask.evaluate`, such as ``accuracy``.
        label: what people call it in running text, such as ``BLEU``.
        goal: ``up`` if more is better, ``down`` if less is.
        meaning: one sentence.
        lowest: the least it can be.
        highest: the most it can be; may be infinite.
        scale: points per unit of the number, above 0; 100 for a share that is read in percent. A
            difference of qualities is told in points. Default 1.
        unit: of points; default none.
        beside: further qualities that a task of this one reports; default none.
        costs: further costs that its trials report; default none.
    """

    name: str
    label: str
    goal: str
    meaning: str
    lowest: float
    highest: float
    scale: float = 1.0
    unit: str = ""
    beside: tuple[Quality, ...] = ()
    costs: tuple[Metric, ...] = ()

    def __post_init__(self) -> None:
        _check_goal(self.goal)
        if not -math.inf < self.lowest < self.highest:
            raise ValueError(
                f"lowest must be finite and below highest, got lowest={self.lowest}, highest={self.highest}"
            )
        if not 0 < self.scale < math.inf:
            raise ValueError(f"scale must be above 0, got scale={self.scale}")

    @property
    def validation(self) -> str:
        """The name on the validation split, such as ``validation_accuracy``."""
        return VALIDATION + self.name

    @property
    def heading(self) -> str:
        """Label and unit for an axis or a column of points: ``accuracy (%)``, ``BLEU``."""
        return f"{self.label} ({self.unit})" if self.unit else self.label

    @property
    def reported(self) -> tuple[Quality, ...]:
        """This one, then those beside it."""
        return (self, *self.beside)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What is logged: this quality and those beside it on both splits, then the further costs."""
        both = (metric for quality in self.reported for metric in quality._on_both_splits())
        return (*both, *self.costs)

    def points(self, value: float) -> float:
        """``value`` as it is read: 0.9889 as 98.89, a BLEU of 34.2 as 34.2."""
        return self.scale * value

    def text(self, value: float) -> str:
        """``value`` with two decimals and the unit: ``98.89 %``, ``34.20``."""
        return f"{self.points(value):.2f} {self.unit}".rstrip()

    def _on_both_splits(self) -> tuple[Metric, Metric]:
        # Logged as measured, so a share has no unit.
        unit = self.unit if self.scale == 1.0 else ""
        where = "Of the packed student, on the {} split"
        return (
            Metric(
                self.validation,
                f"validation {self.label}",
                self.goal,
                unit,
                f"{self.meaning} {where.format('validation')}, which selects.",
            ),
            Metric(
                self.name,
                f"test {self.label}",
                self.goal,
                unit,
                f"{self.meaning} {where.format('test')}, measured once at the end.",
            ),
        )


def _check_goal(goal: str) -> None:
    if goal not in GOALS:
        raise ValueError(f"goal must be one of {', '.join(GOALS)}, got goal={goal!r}")
