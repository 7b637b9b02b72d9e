"""The numbers of a trial that an axis can show, with how people read them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from trainables.metrics import COSTS, Quality


@dataclass(frozen=True)
class Axis:
    """One number of a trial on an axis.

    Attributes:
        key: its column in the frame of trials.
        label: short, for menus and tables.
        title: with the unit, for the axis.
        goal: ``up`` if more is better, ``down`` if less is.
        scale: what is shown per unit of the column; default 1.
        log: whether the axis is logarithmic; default False.
        unit: of what is shown; default none.
    """

    key: str
    label: str
    title: str
    goal: str
    scale: float = 1.0
    log: bool = False
    unit: str = ""

    @property
    def up(self) -> bool:
        """Whether more is better."""
        return self.goal == "up"

    def values(self, trials: pd.DataFrame) -> NDArray[np.float64]:
        """The column as shown; NaN where it was not measured, or cannot stand on the axis."""
        values = self.scale * trials[self.key].to_numpy(dtype=float, na_value=np.nan)
        bad = ~np.isfinite(values) | (values <= 0 if self.log else False)
        return np.where(bad, math.nan, values)


SIZE = Axis(
    "packed_bytes", "packed size", "Packed size (kB = 1000 bytes, logarithmic)", "down", 1e-3, True, "kB"
)
_COST_AXES = (
    SIZE,
    Axis("latency_ms", "latency", "Latency, one input (ms, logarithmic)", "down", 1.0, True, "ms"),
    Axis("macs", "multiply-adds", "Multiply-adds per input (millions, logarithmic)", "down", 1e-6, True, "M"),
    Axis("parameters", "parameters", "Parameters (thousands, logarithmic)", "down", 1e-3, True, "k"),
    Axis("mean_bits", "bits per weight", "Stored bits per weight", "down", 1.0, False, "bit"),
    Axis("sparsity", "sparsity", "Weights that are zero (%)", "up", 100.0, False, "%"),
    Axis("seconds", "time", "Training time (s, logarithmic)", "down", 1.0, True, "s"),
)


def quality_axis(quality: Quality) -> Axis:
    """The validation split's value of ``quality``, by which a sweep selects."""
    title = f"Validation {quality.heading}"
    return Axis(
        quality.validation,
        f"validation {quality.label}",
        title,
        quality.goal,
        quality.scale,
        False,
        quality.unit,
    )


def axes_of(quality: Quality) -> tuple[Axis, ...]:
    """All axes of a sweep's trials; the first is the packed size, then what else they cost, then
    qualities."""
    known = {axis.key for axis in _COST_AXES}
    further = (
        Axis(
            c.name, c.label, f"{c.label.capitalize()} ({c.unit})" if c.unit else c.label.capitalize(), c.goal
        )
        for c in (*COSTS, *quality.costs)
        if c.name not in known and c.name != "compression_ratio"
    )
    qualities = (
        axis
        for each in quality.reported
        for axis in (
            quality_axis(each),
            Axis(
                each.name,
                f"test {each.label}",
                f"Test {each.heading}",
                each.goal,
                each.scale,
                False,
                each.unit,
            ),
        )
    )
    return (*_COST_AXES, *further, *qualities)


def axis_of(quality: Quality, key: str | None, default: Axis) -> Axis:
    """The axis of the column ``key``; ``default`` if trials of ``quality`` have none."""
    return next((axis for axis in axes_of(quality) if axis.key == key), default)
