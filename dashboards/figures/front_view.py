"""What a figure of a front shows, computed; :mod:`dashboards.figures.front` draws it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dashboards.axes import SIZE, Axis, Lost, axes_of, lost_axis, quality_axis, size_axis
from dashboards.figures.hovers import hovers
from dashboards.marks import places_of
from dashboards.text import method_labels, missing, number, texts, whole
from search.objectives.certainty import SPLITS
from search.objectives.front import non_dominated
from search.objectives.mark import SIZE as ONNX_BYTES
from search.objectives.on_split import on_split
from search.store.sweep import Sweep

MANY = 3000
"""Beyond so many marks the figure is drawn by WebGL, which keeps a zoom fluent."""


VIEW = 0.25
"""How far behind the best of the front the first view reaches: a share of the quality's span."""


SCALES = {"near": "near the teacher", "lost": "points lost, logarithmic", "all": "everything"}
"""How far a quality is shown: the value of a switch -> what it says."""


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
        data: one row per trial: sweep, run_id, group, x, y, z (NaN without a third axis), low and high (ends
            of the interval of y; NaN off the front, and where there is none), front (bool, on the axes
            shown), state, and hover (HTML; everything from the store is escaped).
        groups: of all trials, drawn or not, by first appearance: so that a running sweep never recolours.
        x: the horizontal axis.
        y: the vertical axis.
        z: the third axis, or None.
        teachers: reference marks.
        runtimes: what ONNX Runtime's own quantization makes of the teachers, likewise.
        reference: the best full-precision students: columns x and y, in the order of x.
        spread: recipes that were repeated with several seeds: columns x, y (means), low, high, count.
        limits: column of the trials -> the worst value inside the sweep's budgets, as shown on its axis.
        places: group -> the number that its colour and symbol go by.
        scale: one of :data:`SCALES`.
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
    places: Mapping[str, int] = field(default_factory=dict)
    scale: str = "near"

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
    scale: str = "near",
    ended: bool = True,
) -> FrontView:
    """Compute the view of one sweep, or of several of one metric over each other.

    Args:
        sweeps: each with its trials, as :meth:`search.store.store.Store.trials` returns them; at least one.
        x: the horizontal axis; default the first sweep's size.
        y: the vertical axis; default the first sweep's validation quality.
        z: a third axis; default none.
        colour: one of :data:`COLOURS`.
        scale: one of :data:`SCALES`; ``lost`` shows what students lose in place of a validation quality.
        ended: whether trials that ended early are shown.

    Raises:
        ValueError: no sweep, or no such ``colour`` or ``scale``.
    """
    if not sweeps:
        raise ValueError("sweeps must hold at least one sweep, got none")
    if colour not in COLOURS:
        raise ValueError(f"colour must be one of {', '.join(COLOURS)}, got {colour=}")
    if scale not in SCALES:
        raise ValueError(f"scale must be one of {', '.join(SCALES)}, got {scale=}")
    quality = sweeps[0][0].quality
    x, y = x or size_axis(sweeps[0][0]), y or quality_axis(quality)
    alike = [(sweep, trials) for sweep, trials in sweeps if sweep.metric == sweeps[0][0].metric]
    several = len(alike) > 1
    if scale == "lost" and y.key == quality.validation and math.isfinite(sweeps[0][0].teacher_validation):
        y = lost_axis(sweeps[0][0])
    states = SHOWN_STATES if ended else ("finished",)
    shown = [(sweep, trials[_on_axes(trials, (x, _of(y, sweep), z), states)]) for sweep, trials in alike]
    brief = sum(len(trials) for _, trials in shown) > MANY
    parts = [_rows(sweep, trials, (x, y, z), colour, several, brief) for sweep, trials in shown]
    trials = pd.concat([trials for _, trials in shown], ignore_index=True)
    data = pd.concat(parts, ignore_index=True)
    limits = limits_of(sweeps[0][0]) if not several else {}
    if isinstance(y, Lost) and y.key in limits:
        limits[y.key] = sweeps[0][0].budget.max_drop or y.floor
    named = [group for sweep, trials in alike for group in _groups(sweep, trials, colour)]
    places = places_of(named, methods=colour == "method")
    return FrontView(
        data,
        tuple(places),
        x,
        y,
        z,
        tuple(_teacher(sweep, x, y, several) for sweep, _ in alike),
        _reference(trials, data, x, y),
        _spread(trials, data),
        limits,
        tuple(_runtime(sweep, x, y, several) for sweep, _ in alike),
        places,
        scale,
    )


def first_scale(sweep: Sweep, trials: pd.DataFrame) -> str:
    """``lost``, but ``near`` where no student on the front loses anything: all of it would be one level line.

    Args:
        sweep: whose front is shown.
        trials: its trials, as :meth:`search.store.store.Store.trials` returns them.
    """
    if not math.isfinite(sweep.teacher_validation):
        return "lost"
    axis = lost_axis(sweep)
    shown = axis.values(trials[trials["front"].to_numpy(dtype=bool)])
    shown = shown[np.isfinite(shown)]
    return "near" if len(shown) and (shown == axis.floor).all() else "lost"


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
    values: NDArray[np.float64],
    front: NDArray[np.bool_],
    quality: Axis,
    marks: Sequence[float] = (),
    near: float = VIEW,
) -> tuple[float, float]:
    """Limits of a quality axis: the front down to ``near`` behind its best, and ``marks``.

    Students that learned little lie far behind, the smallest of the front among them, and would squeeze
    into a line what a user chooses from; the figure says how many it leaves out.

    Args:
        values: of all that is drawn.
        front: which of them are on the front.
        quality: the axis.
        marks: values that are inside in any case.
        near: a share of the quality's span.
    """
    values, front = values[np.isfinite(values)], front[np.isfinite(values)]
    known = [mark for mark in marks if math.isfinite(mark)]
    if not len(values) and not known:
        ends = quality.lowest, quality.highest
        return ends if all(map(math.isfinite, ends)) else (0.0, 1.0)
    if quality.up:
        return _upwards(values, front, quality, known, near)
    top, bottom = _upwards(-values, front, quality, [-mark for mark in known], near)
    return -bottom, -top


def _upwards(
    values: NDArray[np.float64],
    front: NDArray[np.bool_],
    quality: Axis,
    marks: Sequence[float],
    near: float,
) -> tuple[float, float]:
    """See :func:`quality_range`, of values of which more is better."""
    chosen = values[front] if front.any() else values
    whole = quality.span(max([*chosen, *marks]))
    chosen = chosen[chosen >= chosen.max() - near * whole] if len(chosen) else chosen
    inside = [*chosen, *marks]
    low, high = min(inside), max(inside)
    reach = max(high - low, 0.02 * whole)
    lowest = min([low, *values])
    bottom = lowest if lowest >= low - reach else low - 0.5 * reach
    room = high - bottom + 0.01 * whole
    best = quality.highest if quality.up else -quality.lowest
    # Room for the mark of a perfect student, and no more.
    return bottom - 0.08 * room, min(high + 0.09 * room, best + 0.01 * whole)


def _of(axis: Axis, sweep: Sweep) -> Axis:
    """The axis for students of ``sweep``, whose teacher may be another."""
    return lost_axis(sweep) if isinstance(axis, Lost) else axis


def _on_axes(
    trials: pd.DataFrame, axes: tuple[Axis, Axis, Axis | None], states: Sequence[str]
) -> NDArray[np.bool_]:
    shown = trials["state"].isin(states).to_numpy(dtype=bool)
    for axis in axes:
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
    x, y, z = axes[0], _of(axes[1], sweep), axes[2]
    shown = [axis for axis in (x, y, z) if axis is not None]
    values = np.column_stack([axis.values(trials) for axis in shown])
    eligible = (trials["state"] == "finished").to_numpy(dtype=bool, na_value=False)
    eligible = eligible & trials["feasible"].to_numpy(dtype=bool)
    # With more than two objectives the sweep's own front is another than that of the two which are shown.
    as_marked = len(sweep.costs) == 1 and z is None and x == size_axis(sweep)
    if as_marked and (isinstance(y, Lost) or y == quality_axis(sweep.quality)):
        front = trials["front"].to_numpy(dtype=bool)
    else:
        front = non_dominated(np.where(eligible[:, None], values, np.nan), tuple(axis.up for axis in shown))
    name, (low, high) = sweep.name, _intervals(sweep, trials, y, front)
    return pd.DataFrame(
        {
            "sweep": [name] * len(trials),
            "run_id": trials["run_id"].to_numpy(dtype=object),
            "group": _groups(sweep, trials, colour),
            "x": values[:, 0],
            "y": values[:, 1],
            "z": values[:, 2] if z is not None else np.full(len(trials), math.nan),
            "low": low,
            "high": high,
            "front": front,
            "state": trials["state"].to_numpy(dtype=object),
            "hover": hovers(sweep, trials, name if several else "", brief),
        }
    )


def _intervals(
    sweep: Sweep, trials: pd.DataFrame, y: Axis, front: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The ends of the intervals of y, of the front; NaN elsewhere, and where there are none."""
    low, high = np.full(len(trials), math.nan), np.full(len(trials), math.nan)
    quality = sweep.quality
    prefix = next((each for each in SPLITS if y.key == each + quality.name), None)
    if prefix is None:
        return low, high
    for place, row in zip(np.flatnonzero(front), trials[front].to_dict("records"), strict=True):
        found = on_split(row, sweep.teacher, quality, prefix)
        if found is None:
            continue
        if isinstance(y, Lost):
            between = found.lost_between
            scale, floor = 1.0, y.floor
        else:
            between, scale, floor = found.between, y.scale, -math.inf
        if between is not None:
            low[place], high[place] = max(scale * between.low, floor), max(scale * between.high, floor)
    return low, high


def _groups(sweep: Sweep, trials: pd.DataFrame, colour: str) -> list[str]:
    if colour == "sweep":
        return [sweep.name] * len(trials)
    if colour == "method":
        return method_labels(trials["method"])
    label = COLOURS[colour]
    form = number if colour == "width" else str if colour == "model" else whole
    words = form if colour == "model" else lambda value: f"{label} {form(value)}"
    return texts(trials[colour], words, f"no {label}")


def _teacher(sweep: Sweep, x: Axis, y: Axis, several: bool) -> Mark:
    name = f"Teacher of {sweep.name}" if several else "Teacher"
    values = (_shown(_of(axis, sweep), sweep.metrics.get(f"teacher_{axis.key}", math.nan)) for axis in (x, y))
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
        _shown(_of(axis, sweep), known.get(ONNX_BYTES if axis.key == SIZE.key else axis.key, math.nan))
        for axis in (x, y)
    )
    name = f"{RUNTIME_MARK} of {sweep.name}'s teacher" if several else f"{RUNTIME_MARK} of the teacher"
    return Mark(name + beside, next(values), next(values), told=told)


def _shown(axis: Axis, known: float) -> float:
    """A value as ``axis`` shows it; NaN where it cannot stand there."""
    if isinstance(axis, Lost):
        lost = float(axis.lost(np.asarray(float(known))))
        return max(lost, axis.floor) if math.isfinite(lost) else math.nan
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
