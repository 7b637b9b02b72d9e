"""The numbers of a trial that an axis can show, with how people read them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dashboards.text import upper_first
from search.objectives.certainty import VALIDATION, samples_of
from search.store.sweep import Sweep
from trainables.metrics import Metric, Quality, costs_of, span


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
        lowest: the least that can be shown; minus infinity (default) where there is no end.
        highest: the most, likewise.
        form: how d3 writes a value, default four digits.
        one: the unit of exactly 1, default as of all others.
    """

    key: str
    label: str
    title: str
    goal: str
    scale: float = 1.0
    log: bool = False
    unit: str = ""
    lowest: float = -math.inf
    highest: float = math.inf
    form: str = ".4~g"
    one: str = ""

    @property
    def up(self) -> bool:
        """Whether more is better."""
        return self.goal == "up"

    def amount(self, value: float) -> str:
        """A value as shown, with its unit."""
        unit = self.one if self.one and value == 1 else self.unit
        return f"{value:.4g} {unit}".rstrip()

    def span(self, near: float) -> float:
        """What counts as the whole of the axis beside a value ``near``: its range, or four times that."""
        return span(self.lowest, self.highest, near)

    def values(self, trials: pd.DataFrame) -> NDArray[np.float64]:
        """The column as shown; NaN where it was not measured, or cannot stand on the axis."""
        if self.key not in trials:  # of another device than that of the sweep which has the axis
            return np.full(len(trials), math.nan)
        values = self.scale * trials[self.key].to_numpy(dtype=float, na_value=np.nan)
        bad = ~np.isfinite(values) | (values <= 0 if self.log else False)
        return np.where(bad, math.nan, values)


SIZE = Axis(
    "packed_bytes", "packed size", "Packed size (kB = 1000 bytes, logarithmic)", "down", 1e-3, True, "kB"
)
_COST_AXES = (
    SIZE,
    Axis("onnx_bytes", "ONNX size", "Size in ONNX (kB = 1000 bytes, logarithmic)", "down", 1e-3, True, "kB"),
    Axis(
        "ram_bytes",
        "activation memory",
        "Activation memory, one input (kB = 1000 bytes, logarithmic)",
        "down",
        1e-3,
        True,
        "kB",
    ),
    Axis("latency_ms", "latency", "Latency, one input (ms, logarithmic)", "down", 1.0, True, "ms"),
    Axis("macs", "multiply-adds", "Multiply-adds per input (millions, logarithmic)", "down", 1e-6, True, "M"),
    Axis("parameters", "parameters", "Parameters (thousands, logarithmic)", "down", 1e-3, True, "k"),
    Axis("mean_bits", "bits per weight", "Stored bits per weight", "down", 1.0, False, "bit"),
    Axis("sparsity", "sparsity", "Weights that are zero (%)", "up", 100.0, False, "%", 0, 100, ".2f"),
    Axis("seconds", "time", "Training time (s, logarithmic)", "down", 1.0, True, "s"),
)


@dataclass(frozen=True)
class Lost(Axis):
    """Points of quality that a trial loses to its sweep's teacher, on a logarithmic axis.

    Attributes:
        teacher: the teacher's value, in the unit of the column.
        sign: 1 if more of the quality is better, else -1.
        floor: what is shown of whoever loses no more than that, or nothing.
    """

    teacher: float = math.nan
    sign: float = 1.0
    floor: float = 0.01

    def values(self, trials: pd.DataFrame) -> NDArray[np.float64]:
        """What is lost, at least :attr:`floor`."""
        if self.key not in trials:
            return np.full(len(trials), math.nan)
        lost = self.lost(trials[self.key].to_numpy(dtype=float, na_value=np.nan))
        return np.where(np.isfinite(lost), np.maximum(lost, self.floor), math.nan)

    def lost(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points lost, below 0 where the value is better than the teacher's."""
        found: NDArray[np.float64] = self.sign * self.scale * (self.teacher - values)
        return found


def lost_axis(sweep: Sweep) -> Lost:
    """What students of ``sweep`` lose on validation; its floor is half of what one sample is worth."""
    quality = sweep.quality
    samples = samples_of(sweep.teacher, quality, VALIDATION)
    return Lost(
        quality.validation,
        f"validation {quality.step()} lost",
        f"Validation {quality.label} lost ({quality.step()}, logarithmic)",
        "down",
        quality.scale,
        True,
        f"{quality.step()} lost",
        one=f"{quality.step(1)} lost",
        teacher=sweep.teacher_validation,
        sign=1.0 if quality.up else -1.0,
        floor=0.5 * quality.scale / samples if samples else 1e-4 * quality.span(sweep.teacher_validation),
    )


def quality_axis(quality: Quality, *, test: bool = False) -> Axis:
    """The value of ``quality`` on the validation split, by which a sweep selects, or on the test split."""
    split = "test" if test else "validation"
    return Axis(
        quality.name if test else quality.validation,
        f"{split} {quality.label}",
        f"{split.capitalize()} {quality.heading}",
        quality.goal,
        quality.scale,
        False,
        quality.unit,
        quality.points(quality.lowest),
        quality.points(quality.highest),
        f".{quality.decimals}f" if quality.decimals is not None else ".4~g",
    )


def _cost_axis(cost: Metric) -> Axis:
    """Of a cost that has no axis of its own; bytes are drawn as the packed size is."""
    label = upper_first(cost.label)
    if cost.unit == "B":
        title = f"{label} (kB = 1000 bytes, logarithmic)"
        return Axis(cost.name, cost.label, title, cost.goal, 1e-3, True, "kB")
    return Axis(cost.name, cost.label, f"{label} ({cost.unit})" if cost.unit else label, cost.goal)


def axes_of(quality: Quality) -> tuple[Axis, ...]:
    """All axes of a sweep's trials; the first is the packed size, then what else they cost, then
    qualities."""
    known = {axis.key for axis in _COST_AXES}
    further = (
        _cost_axis(cost)
        for cost in costs_of(quality)
        if cost.name not in known and cost.name != "compression_ratio"
    )
    qualities = (quality_axis(each, test=test) for each in quality.reported for test in (False, True))
    return (*_COST_AXES, *further, *qualities)


def size_axis(sweep: Sweep) -> Axis:
    """The size by which ``sweep`` searches: that of the packed file, or of the ONNX export."""
    return axis_of(sweep.quality, sweep.size, SIZE)


def axis_of(quality: Quality, key: str | None, default: Axis) -> Axis:
    """The axis of the column ``key``; ``default`` if trials of ``quality`` have none."""
    return next((axis for axis in axes_of(quality) if axis.key == key), default)
