"""Two searches side by side, after equally many trials or after all of them."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboards.axes import SIZE, Axis, quality_axis, size_axis
from dashboards.figures.front_view import quality_range, staircase
from dashboards.figures.parts import empty, padded, round_ticks, styled
from dashboards.figures.progress import Corner, corner_of, progress_data, whole_ticks
from dashboards.text import number
from dashboards.theme import LIGHT, SYMBOLS, Theme
from search.objectives.front import front_so_far
from search.store.frames import numbers
from search.store.sweep import Sweep
from trainables.metrics import Quality


@dataclass(frozen=True)
class Side:
    """What is compared: a sweep, or what one method found in it.

    Attributes:
        label: how it is called.
        sweep: where it comes from.
        trials: of it, as :meth:`search.store.store.Store.trials` returns them.
    """

    label: str
    sweep: Sweep
    trials: pd.DataFrame


@dataclass(frozen=True)
class Comparison:
    """Two or more sides, each with its first trials that ended, or with all of them.

    Only students within the limits of their sweep count: for fronts, hypervolumes and tables.

    Attributes:
        labels: of the sides.
        budget: how many trials the shortest side had.
        counts: how many trials of each side are compared.
        trials: those of each side, in the order in which they ended.
        points: columns side, x (kB), y (points of quality), front, within (the limits); finished trials only.
        growth: columns side, trial, hypervolume.
        quality: what was measured.
        size: what x is, by which all sides search, or else the packed size.
        sizes: best quality in points at given sizes in kB: one row per size, one column per side.
        qualities: smallest size in kB at given qualities: one row per quality, one column per side.
    """

    labels: tuple[str, ...]
    budget: int
    counts: tuple[int, ...]
    trials: tuple[pd.DataFrame, ...]
    points: pd.DataFrame
    growth: pd.DataFrame
    quality: Quality
    size: Axis
    sizes: pd.DataFrame
    qualities: pd.DataFrame


def compare(sides: list[Side], *, every: bool = False) -> Comparison:
    """Compare the first trials of each side that ended, as many as the shortest has.

    Args:
        sides: at least two, of one metric.
        every: whether all trials that ended are compared; default False.

    Raises:
        ValueError: fewer than two sides, or sides of different metrics.
    """
    if len(sides) < 2:
        raise ValueError(f"sides must hold at least two, got {len(sides)}")
    metrics = {side.sweep.metric for side in sides}
    if len(metrics) > 1:
        raise ValueError(f"sides must be of one metric, got {', '.join(sorted(metrics))}")
    quality = sides[0].sweep.quality
    ended = [ended_trials(side.trials) for side in sides]
    counted = [numbers(each) for each in ended]
    budget = min(each.max() if len(each) else 0 for each in counted)
    corners = [corner_of(side.trials, side.sweep) for side in sides]
    corner = Corner(
        max(each.size for each in corners),
        max((each.teacher for each in corners), key=lambda value: _finite_gain(quality, value)),
    )
    size = size_axis(sides[0].sweep)
    if any(size_axis(side.sweep) != size for side in sides):
        size = SIZE  # which all of them have
    chosen = tuple(
        each if every else each[number <= budget] for each, number in zip(ended, counted, strict=True)
    )
    points, growth = [], []
    for side, first in zip(sides, chosen, strict=True):
        points.append(_points(first, quality, size).assign(side=side.label))
        grown = progress_data(first, side.sweep, corner)
        growth.append(grown[["trial", "hypervolume"]].assign(side=side.label))
    labels = tuple(side.label for side in sides)
    found = pd.concat(points, ignore_index=True)
    within = found[found["within"]]
    return Comparison(
        labels,
        budget,
        tuple(numbers(each).nunique() for each in chosen),
        chosen,
        found,
        pd.concat(growth, ignore_index=True),
        quality,
        size,
        _at_sizes(within, labels, quality),
        _at_qualities(within, labels, quality),
    )


def fronts_figure(comparison: Comparison, theme: Theme = LIGHT, *, height: int = 420) -> go.Figure:
    """The fronts over each other."""
    points, x, y = comparison.points, comparison.size, quality_axis(comparison.quality)
    if points.empty:
        return empty(theme, height, "Neither has a finished trial yet")
    figure = styled(go.Figure(), theme, height)
    limits = padded(math.log10(points["x"].min()), math.log10(points["x"].max()))
    for i, label in enumerate(comparison.labels):
        rows = points[points["side"] == label]
        name, colour = html.escape(label, quote=False), theme.colour(i)
        others = rows[~rows["front"]]
        figure.add_trace(
            go.Scattergl(
                x=others["x"].to_numpy(dtype=np.float32),
                y=others["y"].to_numpy(dtype=np.float32),
                mode="markers",
                showlegend=False,
                legendgroup=str(i),
                marker={"color": colour, "size": 6, "opacity": 0.25, "symbol": SYMBOLS[i % len(SYMBOLS)]},
                hoverinfo="skip",
            )
        )
        steps = staircase(rows, y_up=y.up)
        if steps.empty:
            continue
        figure.add_scatter(
            x=[*steps["x"], 10 ** limits[1]],
            y=[*steps["y"], steps["y"].iloc[-1]],
            mode="lines",
            showlegend=False,
            legendgroup=str(i),
            line={"shape": "hv", "color": colour, "width": 2},
            hoverinfo="skip",
        )
        figure.add_scatter(
            x=steps["x"].tolist(),
            y=steps["y"].tolist(),
            mode="markers",
            name=name,
            legendgroup=str(i),
            marker={"size": 10, "symbol": SYMBOLS[i % len(SYMBOLS)], "color": colour},
            hovertemplate=f"%{{x:.4~g}} kB, %{{y:{y.form}}}<extra></extra>",
        )
    ticks = round_ticks(points["x"])
    shown = quality_range(points["y"].to_numpy(dtype=float), points["front"].to_numpy(dtype=bool), y)
    figure.update_xaxes(
        type="log",
        range=list(limits),
        tickvals=ticks,
        ticktext=[number(t) for t in ticks],
        title_text=x.title,
    )
    figure.update_yaxes(range=list(shown), title_text=y.title)
    return figure


def growth_figure(comparison: Comparison, theme: Theme = LIGHT, *, height: int = 340) -> go.Figure:
    """The hypervolumes after each trial."""
    if comparison.growth.empty:
        return empty(theme, height, "Neither has a trial that ended yet")
    figure = styled(go.Figure(), theme, height)
    for i, label in enumerate(comparison.labels):
        rows = comparison.growth[comparison.growth["side"] == label]
        figure.add_scatter(
            x=rows["trial"].tolist(),
            y=rows["hypervolume"].tolist(),
            mode="lines" if len(rows) > 1 else "markers",  # one trial alone has no line
            name=html.escape(label, quote=False),
            marker={"size": 10, "symbol": SYMBOLS[i % len(SYMBOLS)], "color": theme.colour(i)},
            line={
                "shape": "hv",
                "color": theme.colour(i),
                "width": 2,
                "dash": ("solid", "dash", "dot")[i % 3],
            },
            hovertemplate="after %{x}: %{y:.3f}<extra></extra>",
        )
    figure.update_xaxes(
        title_text="Trials that ended", rangemode="tozero", **whole_ticks(max(comparison.counts))
    )
    figure.update_yaxes(title_text="Hypervolume (halvings of size and loss)", rangemode="tozero")
    return figure


def ended_trials(trials: pd.DataFrame) -> pd.DataFrame:
    """Those that have ended, in the order in which they did."""
    return trials[trials["end_time"].notna()].sort_values(["end_time", "trial_id"], kind="stable")


def _points(trials: pd.DataFrame, quality: Quality, size: Axis) -> pd.DataFrame:
    finished = (trials["state"] == "finished").to_numpy(dtype=bool, na_value=False)
    x, y = size.values(trials), quality_axis(quality).values(trials)
    front = front_so_far(trials, quality, [size.key]).to_numpy(dtype=bool)
    within = trials["feasible"].to_numpy(dtype=bool)
    rows = pd.DataFrame({"x": x, "y": y, "front": front, "within": within})
    return rows[finished & np.isfinite(x) & np.isfinite(y)]


def _finite_gain(quality: Quality, value: float) -> float:
    return quality.gain(value) if math.isfinite(value) else -math.inf


def _at_sizes(points: pd.DataFrame, labels: tuple[str, ...], quality: Quality) -> pd.DataFrame:
    ticks = [tick for tick in round_ticks(points["x"]) if points["x"].min() <= tick <= points["x"].max()]
    rows = {tick: [_best(points, label, tick, quality) for label in labels] for tick in ticks}
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(labels), dtype="float64")


def _best(points: pd.DataFrame, label: str, size: float, quality: Quality) -> float:
    values = points.loc[(points["side"] == label) & (points["x"] <= size), "y"]
    return float(values.max() if quality.up else values.min())


LOST = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1)
"""Shares of the quality's span at which sizes are compared: of an accuracy none, half a point and so on."""


def _at_qualities(points: pd.DataFrame, labels: tuple[str, ...], quality: Quality) -> pd.DataFrame:
    gains, rows = quality.gain(1.0) * points["y"], {}
    best = gains.max() if len(points) else math.nan
    whole = quality.span(best / quality.scale)
    for lost in LOST if math.isfinite(best) else ():
        least = best - lost * whole
        rows[quality.gain(least)] = [
            float(points.loc[(points["side"] == label) & (gains >= least), "x"].min()) for label in labels
        ]
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(labels), dtype="float64")
