"""What a student may take and lose at most. Imports neither torch nor ray."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from search.units import show_bytes, show_number
from trainables.metrics import Quality


@dataclass(frozen=True)
class Budget:
    """Hard limits of a student; a student within all of them is feasible.

    Attributes:
        max_bytes: length of its packed file, at least 1; None (default) is no limit, as below.
        max_latency_ms: ``latency_ms``, above 0.
        max_drop: points of validation quality that it may lose to the teacher, at least 0. A point is one of
            the quality's unit times its scale: one percent of an accuracy, one metre of an error in metres.

    Raises:
        ValueError: a limit is out of range.
    """

    max_bytes: int | None = None
    max_latency_ms: float | None = None
    max_drop: float | None = None

    def __post_init__(self) -> None:
        if self.max_bytes is not None and self.max_bytes < 1:
            raise ValueError(f"max_bytes must be at least 1, got {self.max_bytes}")
        if self.max_latency_ms is not None and not 0 < self.max_latency_ms < math.inf:
            raise ValueError(f"max_latency_ms must be above 0 and finite, got {self.max_latency_ms}")
        if self.max_drop is not None and not 0 <= self.max_drop < math.inf:
            raise ValueError(f"max_drop must be at least 0 and finite, got {self.max_drop}")

    def params(self) -> dict[str, float | None]:
        """The limits by name, as a sweep's parent run keeps them."""
        return asdict(self)

    @classmethod
    def from_params(cls, params: Mapping[str, str]) -> Budget:
        """Inverse of :meth:`params`, from what MLflow made of it: text, ``None`` too.

        Other params are left aside; a limit that is not there is none.

        Raises:
            ValueError: a limit is no number, or out of range.
        """
        limits = {name: params[name] for name in cls().params() if params.get(name, "None") != "None"}
        size = limits.pop("max_bytes", None)
        return cls(
            None if size is None else int(size), **{name: float(text) for name, text in limits.items()}
        )

    def text(self, quality: Quality) -> str:
        """The limits in words, or an empty string: ``at most 16 kB, 0.5 ms``."""
        words = []
        if self.max_bytes is not None:
            words.append(show_bytes(self.max_bytes))
        if self.max_latency_ms is not None:
            words.append(f"{show_number(self.max_latency_ms)} ms")
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
        size, latency = _number(result.get("packed_bytes")), _number(result.get("latency_ms"))
        drop = _drop(result, quality, teacher_validation)
        clauses = [self._too_large(size), self._too_slow(latency)]
        if self.max_drop is not None and drop is None:
            clauses.append(f"its {quality.label} was not measured beside the teacher's")
        elif self.max_drop is not None and drop is not None and drop > self.max_drop:
            more = show_number(drop - self.max_drop)
            clauses.append(
                f"it loses {show_number(drop)} {quality.step()} of {quality.label} to the teacher, "
                f"{more} more than {show_number(self.max_drop)}"
            )
        return "; ".join(filter(None, clauses))

    def sure_before_training(self, result: Mapping[str, Any]) -> str:
        """As :meth:`exceeded`, of what the untrained student of ``result`` already decides.

        That is the latency, if measured, and the size, of which coding saves up to two fifths once weights
        are trained: a student that is up to two thirds too large may still fit.
        """
        size, latency = _number(result.get("packed_bytes")), _number(result.get("latency_ms"))
        hopeless = size is not None and self._too_large(TRAINED_SHARE * size)
        size_clause = self._too_large(size) if hopeless else ""
        return "; ".join(filter(None, [size_clause, "" if latency is None else self._too_slow(latency)]))

    def constraints(
        self, result: Mapping[str, Any], quality: Quality, teacher_validation: float
    ) -> dict[str, float]:
        """By limit how far a student is over it, at most 0 where it is not: Optuna's form, for its samplers.

        They add up what is over, so the limits share a unit, a doubling: of the bytes, of the milliseconds,
        and of one point more than is lost, so that no loss has a place on the scale. What was not measured
        counts as twice the limit. Arguments as for :meth:`exceeded`.
        """
        found: dict[str, float] = {}
        if self.max_bytes is not None:
            found["packed_bytes"] = _doublings(_number(result.get("packed_bytes")), self.max_bytes)
        if self.max_latency_ms is not None:
            found["latency_ms"] = _doublings(_number(result.get("latency_ms")), self.max_latency_ms)
        if self.max_drop is not None:
            drop = _drop(result, quality, teacher_validation)
            found["drop"] = _doublings(None if drop is None else 1 + max(drop, 0.0), 1 + self.max_drop)
        return found

    def _too_large(self, size: float | None) -> str:
        if self.max_bytes is None or (size is not None and size <= self.max_bytes):
            return ""
        if size is None:
            return "its packed file was not measured"
        more = f"{size - self.max_bytes:,.0f} more than {self.max_bytes:,}"
        return f"its packed file has {size:,.0f} bytes, {more}"

    def _too_slow(self, latency: float | None) -> str:
        if self.max_latency_ms is None or (latency is not None and latency <= self.max_latency_ms):
            return ""
        if latency is None:
            return "its latency was not measured"
        more, limit = show_number(latency - self.max_latency_ms), show_number(self.max_latency_ms)
        return f"its latency is {show_number(latency)} ms, {more} more than {limit}"


TRAINED_SHARE = 0.6
"""Of an untrained student's bytes that a trained one takes at least."""

NO_LIMITS = Budget()


def _drop(result: Mapping[str, Any], quality: Quality, teacher_validation: float) -> float | None:
    """Points lost to the teacher, negative where the student is better."""
    value = _number(result.get(quality.validation))
    if value is None or not math.isfinite(teacher_validation):
        return None
    return quality.lost(value, teacher_validation)


def _number(value: Any) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _doublings(value: float | None, limit: float) -> float:
    return 1.0 if value is None else math.log2(value / limit)
