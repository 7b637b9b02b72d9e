"""One sweep, as its parent run tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from search.objectives.budget import Budget
from search.objectives.costs import PACKED, cost_of, costs_named
from search.objectives.mark import NO_MARK, RuntimeMark
from search.store.mlflow_client import (
    StoreError,
)
from trainables.foreign import shown
from trainables.metrics import Metric, Quality, quality_of
from trainables.metrics.base import VALIDATION
from trainables.metrics.device import with_device

NONE = "none"
"""A param of several words that has none."""


class UnknownMetric(StoreError):
    """The store has a sweep by a quality metric that this version does not know."""


@dataclass(frozen=True)
class Sweep:
    """One sweep, as its parent run tells it.

    Attributes:
        run_id: of the parent run.
        name: unique in the store.
        study: what was searched.
        state: ``running``, ``finished``, ``failed`` or ``stopped``.
        metric: of what it selects by, as :func:`trainables.metrics.spelled` has it; two sweeps with the same
            text can be compared. Columns and metrics go by the name of :attr:`quality`.
        start_time: when it began, UTC.
        seconds: how long it took; NaN while it runs.
        metrics: what the parent run measured; the teacher's values begin with ``teacher_``.
        params: settings of the sweep.
        signatures: metric -> how it was computed, where that must be told with the number.
        mark: what ONNX Runtime's own quantization made of the teacher.
    """

    run_id: str
    name: str
    study: str
    state: str
    metric: str
    start_time: pd.Timestamp
    seconds: float
    metrics: Mapping[str, float] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    signatures: Mapping[str, str] = field(default_factory=dict)
    mark: RuntimeMark = NO_MARK

    @property
    def quality(self) -> Quality:
        """How ``metric`` is read, and what is reported beside it, with what a device said.

        Raises:
            UnknownMetric: another version wrote the sweep.
            StoreError: the parent run names a device or numbers that cannot be.
        """
        try:
            found = quality_of(self.metric)
        except ValueError as error:
            raise UnknownMetric(
                f"The sweep {self.name} cannot be read with this version of Rayduce: {error}."
            ) from error
        if self.device is None:
            return found
        try:
            return with_device(found, self.device, _names(self.params.get("device_numbers", NONE)))
        except ValueError as error:
            raise StoreError(f"The sweep {self.name} was measured on what is no device: {error}.") from error

    @property
    def device(self) -> str | None:
        """The name of the device that its students were measured on; None if on none."""
        name = self.params.get("device", "None")
        return None if name == "None" else name

    @property
    def budget(self) -> Budget:
        """What its students may take and lose.

        Raises:
            UnknownMetric: another version wrote the sweep.
            StoreError: the parent run's limits are none.
        """
        quality = self.quality
        try:
            budget = Budget.from_params(self.params)
            for name in budget.limits:
                cost_of(quality, name)
        except ValueError as error:
            raise StoreError(f"The sweep {self.name} has limits that are none: {error}.") from error
        return budget

    @property
    def size(self) -> str:
        """The metric that is the size of its students: ``packed_bytes`` or ``onnx_bytes``."""
        return self.costs[0]

    @property
    def costs(self) -> tuple[str, ...]:
        """The metrics that it minimises beside the quality, the size first.

        Raises:
            UnknownMetric: another version wrote the sweep.
            StoreError: the parent run names others than trials report.
        """
        names = [self.params.get("size", PACKED), *_names(self.params.get("minimized", NONE))]
        quality = self.quality
        try:
            return tuple(cost_of(quality, name).name for name in names)
        except ValueError as error:
            raise StoreError(
                f"The sweep {self.name} minimises {shown(' '.join(names), 80)}: {error}."
            ) from error

    @property
    def asked(self) -> tuple[Metric, ...]:
        """The costs that are an objective or have a limit, which tables tell of students.

        Raises:
            StoreError: as for :attr:`costs` and :attr:`budget`.
        """
        return costs_named(self.quality, (*self.costs, *self.budget.limits))

    def over_budget(self, trial: Mapping[str, Any]) -> str:
        """By how much a trial, as a row of :meth:`Store.trials`, is over the limits; empty if it is not."""
        return self.budget.exceeded(trial, self.quality, self.teacher_validation)

    @property
    def teacher(self) -> dict[str, float]:
        """What is known of the teacher, by the names that metrics have of students."""
        return {
            name.removeprefix("teacher_"): value
            for name, value in self.metrics.items()
            if name.startswith("teacher_")
        }

    @property
    def teacher_quality(self) -> float:
        """The teacher's quality on the test split; NaN if not measured."""
        return self._teachers("")

    @property
    def teacher_validation(self) -> float:
        """The teacher's quality on the validation split; NaN if not measured."""
        return self._teachers(VALIDATION)

    @property
    def teacher_bytes(self) -> float:
        """Bytes of the teacher's full-precision file, the base of every ratio; NaN if not measured."""
        return self.metrics.get("teacher_packed_bytes", np.nan)

    @property
    def teacher_size(self) -> float:
        """The teacher's :attr:`size`; NaN if not measured."""
        return self.metrics.get(f"teacher_{self.size}", np.nan)

    def _teachers(self, prefix: str) -> float:
        try:
            name = self.quality.name
        except UnknownMetric:  # it is listed nevertheless
            return np.nan
        return self.metrics.get(f"teacher_{prefix}{name}", np.nan)


def _names(param: str) -> tuple[str, ...]:
    return () if param == NONE else tuple(param.split())
