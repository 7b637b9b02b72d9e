"""What a student may take and lose at most. Imports neither torch nor ray."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from search.objectives.costs import cost_of, doublings, exact, measured, number_of, show_cost, with_unit
from search.units import show_number
from trainables.metrics import Metric, Quality

LIMITS = "limits"
"""Begins the names of a sweep's params that say what its students may take; the metric follows a dot."""


OLDER = ("max_bytes", "max_latency_ms")
"""Params of sweeps whose limits had no metrics' names: to leave them aside would be to lift the limits."""


@dataclass(frozen=True)
class Budget:
    """Hard limits of a student; a student within all of them is feasible.

    Attributes:
        limits: the largest value of each limited cost by the name of its metric, such as ``packed_bytes``,
            above 0 and in the metric's unit. Default none.
        max_drop: points of validation quality that it may lose to the teacher, at least 0; None (default) is
            no limit. A point is one of the quality's unit times its scale: one percent of an accuracy, one
            metre of an error in metres.

    Raises:
        ValueError: a limit is out of range.
    """

    limits: Mapping[str, float] = field(default_factory=dict)
    max_drop: float | None = None

    def __post_init__(self) -> None:
        for name, limit in self.limits.items():
            if isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 < limit < math.inf:
                raise ValueError(f"{name} must be limited to a number above 0 and finite, got {limit!r}")
        if self.max_drop is not None and not 0 <= self.max_drop < math.inf:
            raise ValueError(f"max_drop must be at least 0 and finite, got {self.max_drop}")

    def params(self) -> dict[str, Any]:
        """The limits by name, as a sweep's parent run keeps them."""
        return {LIMITS: dict(self.limits), "max_drop": self.max_drop}

    @classmethod
    def from_params(cls, params: Mapping[str, str]) -> Budget:
        """Inverse of :meth:`params`, from what MLflow made of it: ``limits.packed_bytes`` and so on, as text.

        Other params are left aside; a limit that is not there is none.

        Raises:
            ValueError: a limit is no number, or out of range, or an older version wrote it.
        """
        for name in OLDER:
            if params.get(name, "None") != "None":
                raise ValueError(f"{name} is what an older version of Rayduce wrote")
        limits = {
            name.removeprefix(f"{LIMITS}."): _read(text)
            for name, text in params.items()
            if name.startswith(f"{LIMITS}.")
        }
        drop = params.get("max_drop", "None")
        return cls(limits, None if drop == "None" else float(drop))

    def text(self, quality: Quality) -> str:
        """The limits in words, or an empty string: ``at most 16 kB packed size, 0.5 ms latency``."""
        words = [show_cost(metric, limit) for metric, limit in self._costs(quality)]
        if self.max_drop is not None:
            points = f"{show_number(self.max_drop)} {quality.step(self.max_drop)}"
            words.append(f"{points} of validation {quality.label} {quality.behind} the teacher")
        return f"at most {', '.join(words)}" if words else ""

    def exceeded(self, result: Mapping[str, Any], quality: Quality, teacher_validation: float) -> str:
        """By how much a student is over the limits: a clause for each, or an empty string if it is not.

        Args:
            result: what it measured, by metric; None and NaN are not measured, which is over a limit.
            quality: by which the sweep selects.
            teacher_validation: the teacher's, on the validation split.
        """
        clauses = [
            _too_much(metric, measured(result, metric.name), limit) for metric, limit in self._costs(quality)
        ]
        drop = _drop(result, quality, teacher_validation)
        if self.max_drop is not None and drop is None:
            clauses.append(f"its {quality.label} was not measured beside the teacher's")
        elif self.max_drop is not None and drop is not None and drop > self.max_drop:
            more = show_number(drop - self.max_drop)
            clauses.append(
                f"it loses {show_number(drop)} {quality.step()} of {quality.label} to the teacher, "
                f"{more} more than {show_number(self.max_drop)}"
            )
        return "; ".join(filter(None, clauses))

    def within(
        self, results: Mapping[str, Sequence[float]], quality: Quality, teacher_validation: float
    ) -> list[bool]:
        """Of many students, which are within the limits: those of which :meth:`exceeded` says nothing.

        Args:
            results: what they measured, by metric: its validation quality and what is limited, a number for
                each student, NaN where it was not measured.
            quality: by which the sweep selects.
            teacher_validation: the teacher's, on the validation split.
        """
        within = [True] * len(results[quality.validation])
        for metric, limit in self._costs(quality):
            costs = results[metric.name]
            within = [kept and -math.inf < cost <= limit for kept, cost in zip(within, costs, strict=True)]
        if self.max_drop is not None:
            values, most = results[quality.validation], self.max_drop
            lost = [quality.lost(value, teacher_validation) for value in values]
            within = [kept and -math.inf < each <= most for kept, each in zip(within, lost, strict=True)]
        return within

    def sure_before_training(self, result: Mapping[str, Any], quality: Quality) -> str:
        """As :meth:`exceeded`, of what the untrained student of ``result`` already decides.

        Those are the costs that training leaves as they are (:attr:`trainables.metrics.Metric.trained_share`
        of 1) where they are known, and sizes, of which coding saves up to two fifths once weights are
        trained: a student that is up to two thirds too large may still fit. Quality decides nothing yet.
        """
        clauses = []
        for metric, limit in self._costs(quality):
            value = measured(result, metric.name)
            if value is not None and metric.trained_share * value > limit:
                clauses.append(_too_much(metric, value, limit))
        return "; ".join(clauses)

    def constraints(
        self, result: Mapping[str, Any], quality: Quality, teacher_validation: float
    ) -> dict[str, float]:
        """By limit how far a student is over it, at most 0 where it is not: Optuna's form, for its samplers.

        They add up what is over, so the limits share a unit, a doubling: of the bytes, of the milliseconds,
        and of one point more than is lost, so that no loss has a place on the scale. What was not measured
        counts as twice the limit. Arguments as for :meth:`exceeded`.
        """
        found: dict[str, float] = {}
        for name, limit in self.limits.items():
            found[name] = _over(measured(result, name), limit)
        if self.max_drop is not None:
            drop = _drop(result, quality, teacher_validation)
            found["drop"] = _over(None if drop is None else 1 + max(drop, 0.0), 1 + self.max_drop)
        return found

    def _costs(self, quality: Quality) -> list[tuple[Metric, float]]:
        return [(cost_of(quality, name), limit) for name, limit in self.limits.items()]


NO_LIMITS = Budget()


def _read(text: str) -> float:
    """A whole number stays one, so that it is written as it was."""
    try:
        return int(text)
    except ValueError:
        return float(text)


def _too_much(metric: Metric, value: float | None, limit: float) -> str:
    if value is None:
        return f"its {metric.label} {'were' if _is_plural(metric.label) else 'was'} not measured"
    if value <= limit:
        return ""
    told = f"its {metric.label} {'are' if _is_plural(metric.label) else 'is'} {with_unit(metric, value)}"
    return f"{told}, {exact(metric, value - limit)} more than {exact(metric, limit)}"


def _is_plural(label: str) -> bool:
    """Whether a label names several things: ``multiply-adds of the whole network``, ``bits per weight``."""
    noun = label.split(" of ")[0].split(" per ")[0].split(" with ")[0]
    return noun.endswith("s")


def _drop(result: Mapping[str, Any], quality: Quality, teacher_validation: float) -> float | None:
    """Points lost to the teacher, negative where the student is better."""
    value = number_of(result.get(quality.validation))
    if value is None or not math.isfinite(teacher_validation):
        return None
    return quality.lost(value, teacher_validation)


def _over(value: float | None, limit: float) -> float:
    """By how many doublings ``value`` is over ``limit``."""
    return 1.0 if value is None else doublings(value) - doublings(limit)
