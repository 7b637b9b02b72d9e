"""By what a sweep judges its students: which are within its budget, and which are on its front."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from search.objectives.budget import NO_LIMITS, Budget
from search.objectives.front import non_dominated
from trainables.metrics import Quality


@dataclass(frozen=True)
class Yardstick:
    """What students of one sweep are compared by, and with.

    Attributes:
        quality: selects, on the validation split.
        teacher: what is known of the teacher, by metric: ``packed_bytes`` and its qualities. Default nothing.
        budget: default no limits.
        minimize_latency: whether latency is an objective beside quality and size; default False.
    """

    quality: Quality
    teacher: Mapping[str, float] = field(default_factory=dict)
    budget: Budget = NO_LIMITS
    minimize_latency: bool = False

    @property
    def teacher_validation(self) -> float:
        """The teacher's quality on the validation split; NaN if not measured."""
        return self.teacher.get(self.quality.validation, math.nan)

    @property
    def directions(self) -> list[Literal["maximize", "minimize"]]:
        """Of the :meth:`objectives`: better quality, fewer bytes and, where it counts, less latency."""
        costs: list[Literal["maximize", "minimize"]] = ["minimize"] * (2 if self.minimize_latency else 1)
        return ["maximize" if self.quality.up else "minimize", *costs]

    def objectives(self, result: Mapping[str, Any]) -> list[float]:
        """A trial's last result as Optuna is told it: quality, log2 of the bytes, perhaps latency in ms.

        NaN where it was not measured.
        """
        size = result.get("packed_bytes", math.nan)
        values = [result.get(self.quality.validation, math.nan), math.log2(size) if size > 0 else math.nan]
        return [*values, result.get("latency_ms", math.nan)] if self.minimize_latency else values

    def constraints(self, result: Mapping[str, Any]) -> dict[str, float]:
        """How far a trial's last result is over each limit of the budget, at most 0 where it is within."""
        return self.budget.constraints(result, self.quality, self.teacher_validation)

    def over(self, metrics: Mapping[str, float]) -> str:
        """By how much a student is over the budget; empty if it is within."""
        return self.budget.exceeded(metrics, self.quality, self.teacher_validation)

    def front(self, students: Mapping[str, Mapping[str, float]]) -> list[str]:
        """Trial ids of the non-dominated students within the budget, smallest file first.

        One whose quality is the worst there is, such as a BLEU of 0, has learnt nothing, and is no choice
        however small it is. Better is a better validation quality, fewer bytes and, where it is an objective,
        less latency; of equal students the first is kept.

        Args:
            students: what finished trials measured, by trial id.
        """
        quality = self.quality
        names = [quality.validation, "packed_bytes", *(["latency_ms"] if self.minimize_latency else [])]
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
        kept = non_dominated(values, (quality.up, False, False)[: len(names)])
        front = [trial_id for trial_id, on_front in zip(fit, kept, strict=True) if on_front]
        return sorted(front, key=lambda trial_id: fit[trial_id]["packed_bytes"])
