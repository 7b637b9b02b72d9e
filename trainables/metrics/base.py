"""What a metric is: a name, a direction, a unit and a meaning. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

GOALS = ("up", "down")


@dataclass(frozen=True)
class Metric:
    """One number that a trial reports.

    Attributes:
        name: under which it is logged; ``<metric>`` stands for the task's quality, such as ``accuracy``.
        label: what a chart's axis says.
        goal: ``up`` if more is better, ``down`` if less is.
        unit: of the number; empty for plain numbers and shares.
        meaning: one sentence.
    """

    name: str
    label: str
    goal: str
    unit: str
    meaning: str

    def __post_init__(self) -> None:
        if self.goal not in GOALS:
            raise ValueError(f"goal must be one of {', '.join(GOALS)}, got goal={self.goal!r}")
