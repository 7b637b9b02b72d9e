"""By what a sweep judges its students: which are within its budget, and which are on its front."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from search.objectives.budget import NO_LIMITS, Budget
from search.objectives.costs import PACKED, SIZES, cost_of, costs_named, doublings, measured, option_of
from search.objectives.front import non_dominated
from search.problem import Problem
from trainables.foreign import shown
from trainables.metrics import LATENCY, Metric, Quality
from trainables.metrics.base import DEVICE


@dataclass(frozen=True)
class Yardstick:
    """What students of one sweep are compared by, and with.

    Attributes:
        quality: selects, on the validation split.
        teacher: what is known of the teacher, by metric: its sizes and its qualities. Default nothing.
        budget: default no limits.
        size: the metric that is the size of a student: ``packed_bytes`` (default) or ``onnx_bytes``.
        minimized: metrics that are objectives beside quality and size, such as ``latency_ms``; default none.
    """

    quality: Quality
    teacher: Mapping[str, float] = field(default_factory=dict)
    budget: Budget = NO_LIMITS
    size: str = PACKED
    minimized: tuple[str, ...] = ()

    @property
    def costs(self) -> tuple[str, ...]:
        """The metrics that are minimised beside the quality, the size first."""
        return (self.size, *self.minimized)

    @property
    def names(self) -> tuple[str, ...]:
        """The metrics of the :meth:`objectives`."""
        return (self.quality.validation, *self.costs)

    @property
    def ups(self) -> tuple[bool, ...]:
        """Of each of the :attr:`names`, whether more is better."""
        return (self.quality.up, *(False for _ in self.costs))

    @property
    def asked(self) -> tuple[Metric, ...]:
        """The costs that are an objective or have a limit, which tables tell of students."""
        return costs_named(self.quality, (*self.costs, *self.budget.limits))

    def ratio(self, metrics: Mapping[str, float]) -> float:
        """How many times smaller a student is than the teacher, by the sweep's size; NaN if not measured."""
        if self.size == PACKED:
            return metrics.get("compression_ratio", math.nan)
        own = measured(metrics, self.size)
        return self.teacher.get(self.size, math.nan) / own if own else math.nan

    @property
    def timed_here(self) -> bool:
        """Whether a latency is an objective or a limit, which differs from one machine to another."""
        return any(name.startswith(LATENCY) for name in (*self.minimized, *self.budget.limits))

    @property
    def on_device(self) -> bool:
        """Whether a number of a device is an objective or a limit: another device has others."""
        return any(name.startswith(DEVICE) for name in (*self.minimized, *self.budget.limits))

    @property
    def teacher_validation(self) -> float:
        """The teacher's quality on the validation split; NaN if not measured."""
        return self.teacher.get(self.quality.validation, math.nan)

    @property
    def directions(self) -> list[Literal["maximize", "minimize"]]:
        """Of the :meth:`objectives`: better quality, and less of each cost."""
        return ["maximize" if up else "minimize" for up in self.ups]

    def check(self) -> None:
        """Refuse limits and objectives that students of this sweep do not measure.

        Raises:
            Problem: a metric that trials do not report, one of which more is better, or one that is minimised
                twice; the message names the option, and the metrics there are.
        """
        words = {name: word for word, name in SIZES.items()}
        asked = [(f"--size-of {words.get(self.size, self.size)}", self.size)]
        asked += [(option_of(name), name) for name in self.budget.limits]
        asked += [(f"--minimize {name}", name) for name in self.minimized]
        for option, name in asked:
            try:
                cost_of(self.quality, name)
            except ValueError as error:
                raise Problem(f"{shown(option, 80)} cannot be used: {error}.") from error
        for number, name in enumerate(self.costs):
            if name in self.costs[:number]:
                raise Problem(f"--minimize {name} can be left out: {name} is minimised already.")

    def objectives(self, result: Mapping[str, Any]) -> list[float]:
        """A trial's last result as Optuna is told it: quality, then the logarithm to base 2 of each cost.

        NaN where it was not measured.
        """
        costs = [measured(result, name) for name in self.costs]
        values = [math.nan if cost is None else doublings(cost) for cost in costs]
        return [result.get(self.quality.validation, math.nan), *values]

    def constraints(self, result: Mapping[str, Any]) -> dict[str, float]:
        """How far a trial's last result is over each limit of the budget, at most 0 where it is within."""
        return self.budget.constraints(result, self.quality, self.teacher_validation)

    def over(self, metrics: Mapping[str, float]) -> str:
        """By how much a student is over the budget; empty if it is within."""
        return self.budget.exceeded(metrics, self.quality, self.teacher_validation)

    def front(self, students: Mapping[str, Mapping[str, float]]) -> list[str]:
        """Trial ids of the non-dominated students within the budget, smallest first.

        One whose quality is the worst there is, such as a BLEU of 0, has learnt nothing, and is no choice
        however small it is. Better is a better validation quality and less of each cost; of equal students
        the first is kept.

        Args:
            students: what finished trials measured, by trial id.
        """
        quality, names = self.quality, self.names
        fit = {
            trial_id: metrics
            for trial_id, metrics in students.items()
            if all(name in metrics for name in names)
            and quality.gain(metrics[quality.validation]) > quality.gain(quality.worst)
            and not self.over(metrics)
        }
        if not fit:
            return []
        values = np.array([[metrics[name] for name in names] for metrics in fit.values()], dtype=float)
        kept = non_dominated(values, self.ups)
        front = [trial_id for trial_id, on_front in zip(fit, kept, strict=True) if on_front]
        return sorted(front, key=lambda trial_id: fit[trial_id][self.size])
