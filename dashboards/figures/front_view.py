"""What a figure of a front shows, computed; :mod:`dashboards.figures.front` draws it."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dashboards.axes import SIZE, Axis, axes_of, quality_axis, size_axis
from dashboards.text import method_label, missing, number, share, times, whole
from search.objectives.front import non_dominated
from search.objectives.mark import SIZE as ONNX_BYTES
from search.store.sweep import Sweep

MANY = 3000
"""Beyond so many marks the figure is drawn by WebGL, which keeps a zoom fluent."""


VIEW = 0.25
"""How far behind the best of the front the first view reaches: a share of the quality's span."""


SHOWN_STATES = ("finished", "stopped", "pruned")


COLOURS = {
    "method": "method",
    "bits": "bits",
    "bucket_size": "bucket size",
    "depth": "depth",
    "width": "width",
    "model": "model",
    "sweep": "sweep",
}
"""What marks can be coloured by: column of the trials -> what a menu says."""


@dataclass(frozen=True)
class Mark:
    """What students are compared with, on the axes of a figure; NaN where it was not measured."""

    name: str
    x: float
    y: float
    told: str


@dataclass(frozen=True)
class FrontView:
    """What the figure shows.

    Attributes:
        data: one row per trial: sweep, run_id, group, x, y, z (NaN without a third axis), front (bool, on the
            axes shown), state, and hover (HTML; everything from the store is escaped).
        groups: of all trials, drawn or not, by first appearance: so that a running sweep never recolours.
        x: the horizontal axis.
        y: the vertical axis.
        z: the third axis, or None.
        teachers: reference marks.
        runtimes: what ONNX Runtime's own quantization makes of the teachers, likewise.
        reference: the best full-precision students: columns x and y, in the order of x.
        spread: recipes that were repeated with several seeds: columns x, y (means), low, high, count.
        limits: column of the trials -> the worst value inside the sweep's budgets, as shown on its axis.
    """

    data: pd.DataFrame
    groups: tuple[str, ...]
    x: Axis
    y: Axis
    z: Axis | None = None
    teachers: tuple[Mark, ...] = ()
    reference: pd.DataFrame = field(default_factory=lambda: pd.DataFrame({"x": [], "y": []}))
    spread: pd.DataFrame = field(
        default_factory=lambda: pd.DataFrame(columns=["x", "y", "low", "high", "count"])
    )
    limits: Mapping[str, float] = field(default_factory=dict)
    runtimes: tuple[Mark, ...] = ()

    @property
    def marks(self) -> tuple[Mark, ...]:
        """All that students are compared with."""
        return (*self.teachers, *self.runtimes)


def front_view(
    sweeps: Sequence[tuple[Sweep, pd.DataFrame]],
    *,
    x: Axis | None = None,
    y: Axis | None = None,
    z: Axis | None = None,
    colour: str = "method",
) -> FrontView:
    """Compute the view of one sweep, or of several of one metric over each other.

    Args:
        sweeps: each with its trials, as :meth:`search.store.store.Store.trials` returns them; at least one.
        x: the horizontal axis; default the first sweep's size.
        y: the vertical axis; default the first sweep's validation quality.
        z: a third axis; default none.
        colour: one of :data:`COLOURS`.

    Raises:
        ValueError: no sweep, or no such ``colour``.
    """
    if not sweeps:
        raise ValueError("sweeps must hold at least one sweep, got none")
    if colour not in COLOURS:
        raise ValueError(f"colour must be one of {', '.join(COLOURS)}, got {colour=}")
    quality = sweeps[0][0].quality
    x, y = x or size_axis(sweeps[0][0]), y or quality_axis(quality)
    alike = [(sweep, trials) for sweep, trials in sweeps if sweep.metric == sweeps[0][0].metric]
    several = len(alike) > 1
    shown = [(sweep, trials[_on_axes(trials, x, y, z)]) for sweep, trials in alike]
    brief = sum(len(trials) for _, trials in shown) > MANY
    parts = [_rows(sweep, trials, (x, y, z), colour, several, brief) for sweep, trials in shown]
    trials = pd.concat([trials for _, trials in shown], ignore_index=True)
    data = pd.concat(parts, ignore_index=True)
    limits = limits_of(sweeps[0][0]) if not several else {}
    named = [group for sweep, trials in alike for group in _groups(sweep, trials, colour)]
    return FrontView(
        data,
        tuple(group_numbers(named)),
        x,
        y,
        z,
        tuple(_teacher(sweep, x, y, several) for sweep, _ in alike),
        _reference(trials, data, x, y),
        _spread(trials, data),
        limits,
        tuple(_runtime(sweep, x, y, several) for sweep, _ in alike),
    )


def limits_of(sweep: Sweep) -> dict[str, float]:
    """The sweep's budgets: column -> the worst value allowed, as shown on the column's axis."""
    quality, budget = sweep.quality, sweep.budget
    scales = {axis.key: axis.scale for axis in axes_of(quality)}
    limits = {name: scales[name] * limit for name, limit in budget.limits.items()}
    if budget.max_drop is not None and not missing(sweep.teacher_validation):
        drop = quality.gain(budget.max_drop)
        limits[quality.validation] = quality.points(sweep.teacher_validation) - drop
    return limits


def staircase(data: pd.DataFrame, x_up: bool = False, y_up: bool = True) -> pd.DataFrame:
    """The corners of the front's steps in the order of x: columns x and y.

    Only what improves on everything before it is a step, so that a front of three objectives, or one with
    hand-set marks, still draws as a staircase. Better is less of x unless ``x_up``, more of y if ``y_up``.
    """
    sign = 1.0 if y_up else -1.0
    front = data[data["front"]].assign(rank=lambda rows: sign * rows["y"])
    front = front.sort_values(["x", "rank"], ascending=[not x_up, False])
    best = front["rank"].cummax().shift(fill_value=-math.inf)
    return front.loc[front["rank"] > best, ["x", "y"]].reset_index(drop=True)


def quality_range(
    values: NDArray[np.float64], front: NDArray[np.bool_], quality: Axis, marks: Sequence[float] = ()
) -> tuple[float, float]:
    """Limits of a quality axis: the front down to ``VIEW`` behind its best, and ``marks``.

    Students that learned little lie far behind, the smallest of the front among them, and would squeeze
    into a line what a user chooses from; the figure says how many it leaves out.
    """
    values, front = values[np.isfinite(values)], front[np.isfinite(values)]
    known = [mark for mark in marks if math.isfinite(mark)]
    if not len(values) and not known:
        ends = quality.lowest, quality.highest
        return ends if all(map(math.isfinite, ends)) else (0.0, 1.0)
    if quality.up:
        return _upwards(values, front, quality, known)
    top, bottom = _upwards(-values, front, quality, [-mark for mark in known])
    return -bottom, -top


def _upwards(
    values: NDArray[np.float64], front: NDArray[np.bool_], quality: Axis, marks: Sequence[float]
) -> tuple[float, float]:
    """See :func:`quality_range`, of values of which more is better."""
    chosen = values[front] if front.any() else values
    whole = quality.span(max([*chosen, *marks]))
    chosen = chosen[chosen >= chosen.max() - VIEW * whole] if len(chosen) else chosen
    inside = [*chosen, *marks]
    low, high = min(inside), max(inside)
    reach = max(high - low, 0.02 * whole)
    lowest = min([low, *values])
    bottom = lowest if lowest >= low - reach else low - 0.5 * reach
    room = high - bottom + 0.01 * whole
    best = quality.highest if quality.up else -quality.lowest
    # Room for the mark of a perfect student, and no more.
    return bottom - 0.08 * room, min(high + 0.09 * room, best + 0.01 * whole)


def group_numbers(groups: Sequence[str]) -> dict[str, int]:
    """Group -> its place by first appearance."""
    return {group: i for i, group in enumerate(dict.fromkeys(groups))}


def _on_axes(trials: pd.DataFrame, x: Axis, y: Axis, z: Axis | None) -> NDArray[np.bool_]:
    shown = trials["state"].isin(SHOWN_STATES).to_numpy(dtype=bool)
    for axis in (x, y, z):
        if axis is not None:
            shown = shown & np.isfinite(axis.values(trials))
    return shown


def _rows(
    sweep: Sweep,
    trials: pd.DataFrame,
    axes: tuple[Axis, Axis, Axis | None],
    colour: str,
    several: bool,
    brief: bool,
) -> pd.DataFrame:
    x, y, z = axes
    shown = [axis for axis in axes if axis is not None]
    values = np.column_stack([axis.values(trials) for axis in shown])
    eligible = (trials["state"] == "finished").to_numpy(dtype=bool, na_value=False)
    eligible = eligible & trials["feasible"].to_numpy(dtype=bool)
    if (x, y, z) == (size_axis(sweep), quality_axis(sweep.quality), None):
        front = trials["front"].to_numpy(dtype=bool)
    else:
        front = non_dominated(np.where(eligible[:, None], values, np.nan), tuple(axis.up for axis in shown))
    name = sweep.name
    return pd.DataFrame(
        {
            "sweep": [name] * len(trials),
            "run_id": trials["run_id"].to_numpy(dtype=object),
            "group": _groups(sweep, trials, colour),
            "x": values[:, 0],
            "y": values[:, 1],
            "z": values[:, 2] if z is not None else np.full(len(trials), math.nan),
            "front": front,
            "state": trials["state"].to_numpy(dtype=object),
            "hover": _hovers(trials, name if several else "", brief),
        }
    )


def _groups(sweep: Sweep, trials: pd.DataFrame, colour: str) -> list[str]:
    if colour == "sweep":
        return [sweep.name] * len(trials)
    if colour == "method":
        return [method_label(method) for method in trials["method"]]
    label = COLOURS[colour]
    return [
        f"no {label}"
        if missing(value)
        else str(value)
        if colour == "model"
        else f"{label} {number(value) if colour == 'width' else whole(value)}"
        for value in trials[colour].astype(object)
    ]


def _hovers(trials: pd.DataFrame, sweep: str, brief: bool) -> list[str]:
    """What is told of each trial; of many in one line each, which keeps a page of 10,000 below 6 MB."""
    columns = (trials[column].astype(object) for column in _Told._fields)
    return [_hover(_Told(*row), sweep, brief) for row in zip(*columns, strict=True)]


class _Told(NamedTuple):
    """What is told of one trial where the pointer is: columns of the trials, any of which may be missing."""

    name: Any
    bits: Any
    bucket_size: Any
    depth: Any
    width: Any
    sparsity: Any
    compression_ratio: Any
    latency_ms: Any
    state: Any


def _hover(trial: _Told, sweep: str, brief: bool) -> str:
    words = [
        "" if missing(trial.bits) else f"{trial.bits} bit",
        "" if missing(trial.bucket_size) else f"buckets of {trial.bucket_size}",
        "" if missing(trial.depth) else f"depth {trial.depth:g}",
        "" if missing(trial.width) else f"width {trial.width:g}",
        "" if missing(trial.sparsity) or not trial.sparsity else f"{share(trial.sparsity)} zeros",
    ]
    facts = [
        "" if missing(trial.compression_ratio) else f"{times(trial.compression_ratio)} smaller",
        "" if missing(trial.latency_ms) else f"{trial.latency_ms:.3g} ms",
        "" if trial.state == "finished" else str(trial.state),
        f"sweep {sweep}" if sweep else "",
    ]
    if brief:
        facts[0] = ""
        return html.escape(", ".join(part for part in (*words, *facts) if part), quote=False)
    lines = [", ".join(part for part in parts if part) for parts in (words, facts)]
    title = html.escape("" if missing(trial.name) else str(trial.name), quote=False)
    return "<br>".join([f"<b>{title}</b>", *(html.escape(line, quote=False) for line in lines if line)])


def _teacher(sweep: Sweep, x: Axis, y: Axis, several: bool) -> Mark:
    name = f"Teacher of {sweep.name}" if several else "Teacher"
    values = (_shown(axis, sweep.metrics.get(f"teacher_{axis.key}", math.nan)) for axis in (x, y))
    return Mark(name, next(values), next(values), told="in full precision")


RUNTIME_MARK = "ONNX Runtime's own int8"


def _runtime(sweep: Sweep, x: Axis, y: Axis, several: bool) -> Mark:
    """The mark of a sweep; where packed sizes are shown it stands at the size of its ONNX files."""
    known, by_size = sweep.mark.values, SIZE.key in (x.key, y.key)
    beside = " (bytes of its ONNX file)" if by_size else ""
    told = "the teacher, quantized without training" + (
        "; its size is that of its ONNX file, students' are of packed files" if by_size else ""
    )
    values = (
        _shown(axis, known.get(ONNX_BYTES if axis.key == SIZE.key else axis.key, math.nan)) for axis in (x, y)
    )
    name = f"{RUNTIME_MARK} of {sweep.name}'s teacher" if several else f"{RUNTIME_MARK} of the teacher"
    return Mark(name + beside, next(values), next(values), told=told)


def _shown(axis: Axis, known: float) -> float:
    """A value as ``axis`` shows it; NaN where it cannot stand there."""
    value = axis.scale * float(known)
    return value if math.isfinite(value) and (value > 0 or not axis.log) else math.nan


def is_measured(mark: Mark) -> bool:
    return math.isfinite(mark.x) or math.isfinite(mark.y)


def _reference(trials: pd.DataFrame, data: pd.DataFrame, x: Axis, y: Axis) -> pd.DataFrame:
    # Bits per weight that is not zero: learned and mixed bits, which are no one number, have at most 15.
    kept = 1 - trials["sparsity"].astype(float).fillna(0).clip(upper=0.999)
    plain = ((trials["mean_bits"].astype(float) / kept) > 16).to_numpy(dtype=bool)
    plain = plain & (trials["state"] == "finished").to_numpy(dtype=bool, na_value=False)
    rows = data.loc[plain, ["x", "y"]]
    best = non_dominated(rows.to_numpy(dtype=float), (x.up, y.up))
    return rows[best].sort_values("x", ignore_index=True)


def _spread(trials: pd.DataFrame, data: pd.DataFrame) -> pd.DataFrame:
    rows = data.assign(recipe=trials["seedless_id"].to_numpy(dtype=object))[trials["seedless_id"].notna()]
    rows = rows[rows["state"] == "finished"]
    found = rows.groupby("recipe", sort=False).agg(
        x=("x", "mean"), y=("y", "mean"), low=("y", "min"), high=("y", "max"), count=("y", "size")
    )
    return found[found["count"] > 1].reset_index(drop=True)
