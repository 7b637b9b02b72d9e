"""How a sweep goes: the hypervolume of what it has found, and the states of its trials."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboards.figures.parts import empty, styled
from dashboards.theme import LIGHT, Theme
from search.objectives.front import non_dominated, size_loss_hypervolume
from search.store.frames import numbers
from search.store.sweep import Sweep
from search.units import count, show_state

AGAINST = {"trials": "trials that ended", "time": "time"}
STATES = ("finished", "running", "pruned", "stopped", "failed")
STATE_COLOURS = dict(zip(STATES, (2, 0, 4, 5, 1), strict=True))
"""State -> the number of its colour."""


class Corner(NamedTuple):
    """What a hypervolume counts against.

    Attributes:
        size: bytes from which it counts.
        teacher: the teacher's quality on the validation split.
    """

    size: float
    teacher: float


def corner_of(trials: pd.DataFrame, sweep: Sweep) -> Corner:
    """What a sweep's hypervolume counts against: its teacher, as far as that was measured.

    Else it is the largest student, and the best.
    """
    size, teacher, quality = sweep.teacher_size, sweep.teacher_validation, sweep.quality
    if not (math.isfinite(size) and size > 0):
        size = np.nanmax(trials[sweep.size].to_numpy(dtype=float, na_value=np.nan), initial=1.0)
    if not math.isfinite(teacher):
        values = trials[quality.validation].to_numpy(dtype=float, na_value=np.nan)
        values = values[np.isfinite(values)]
        teacher = float(max(values, key=quality.gain)) if len(values) else 0.0
    return Corner(float(size), teacher)


UNIT = "one unit is a halving of the file at a halving of what it loses to the teacher"
"""Of a hypervolume, in words."""


def progress_data(trials: pd.DataFrame, sweep: Sweep, corner: Corner | None = None) -> pd.DataFrame:
    """The hypervolume after each trial that ended.

    Args:
        trials: as :meth:`search.store.store.Store.trials` returns them.
        sweep: theirs.
        corner: against which it counts; default :func:`corner_of`.

    Returns:
        Columns trial (1, 2, ... in the order of their ends, with students trained beside their own),
        minutes (since the sweep began), hypervolume (see
        :func:`search.objectives.front.size_loss_hypervolume`) and improved (bool).
    """
    quality, ended = sweep.quality, trials[trials["end_time"].notna()]
    ended = ended.sort_values(["end_time", "trial_id"], kind="stable")
    size, teacher = corner_of(trials, sweep) if corner is None else corner
    values = ended[[sweep.size, quality.validation]].to_numpy(dtype=float, na_value=np.nan, copy=True)
    out = (ended["state"] != "finished").to_numpy(dtype=bool, na_value=True)
    values[out | ~ended["feasible"].to_numpy(dtype=bool)] = np.nan  # what is over the limits is no student
    front, volume, volumes = np.empty((0, 2)), 0.0, []
    for row in values:
        if np.isfinite(row).all() and not _no_worse(front, row, quality.up).any():
            front = np.vstack([front, row])
            front = front[non_dominated(front, (False, quality.up))]
            volume = size_loss_hypervolume(
                front[:, 0], front[:, 1], quality, reference_bytes=size, teacher_value=teacher
            )
        volumes.append(volume)
    minutes = (ended["end_time"] - sweep.start_time).dt.total_seconds() / 60
    rows = pd.DataFrame({"minutes": minutes.to_numpy(dtype=float), "hypervolume": volumes}, dtype="float64")
    grown = rows.groupby(numbers(ended).to_numpy()).max().cummax()
    grown["improved"] = grown["hypervolume"].diff().fillna(grown["hypervolume"]) > 0
    return grown.rename_axis("trial").reset_index()


def progress_figure(
    data: pd.DataFrame, against: str = "trials", theme: Theme = LIGHT, *, height: int = 340
) -> go.Figure:
    """Draw the hypervolume over trials or over time.

    Args:
        data: as :func:`progress_data` returns it.
        against: ``trials`` or ``time``.
        theme: its colours.
        height: in pixels.

    Raises:
        ValueError: neither of the two.
    """
    if against not in AGAINST:
        raise ValueError(f"against must be one of {', '.join(AGAINST)}, got {against=}")
    if data.empty:
        return empty(theme, height, "No trial has ended yet")
    hours = data["minutes"].max() > 180
    x = data["trial"] if against == "trials" else data["minutes"] / (60 if hours else 1)
    figure = styled(go.Figure(), theme, height)
    figure.add_scatter(
        x=x.to_numpy(dtype=np.float32),
        y=data["hypervolume"].to_numpy(dtype=np.float32),
        mode="lines",
        line={"shape": "hv", "color": theme.colour(0), "width": 2},
        name="Hypervolume",
        hovertemplate="%{x:.4~g}: %{y:.3f}<extra></extra>",
    )
    better = data["improved"].to_numpy(dtype=bool)
    figure.add_scatter(
        x=x[better].to_numpy(dtype=np.float32),
        y=data.loc[better, "hypervolume"].to_numpy(dtype=np.float32),
        mode="markers",
        marker={"color": theme.colour(0), "size": 7},
        name="A better front",
        hoverinfo="skip",
    )
    title = (
        "Trials that ended"
        if against == "trials"
        else f"Time since the start ({'hours' if hours else 'minutes'})"
    )
    figure.update_layout(showlegend=False, margin={"t": 20}, uirevision=against)
    figure.update_xaxes(title_text=title, rangemode="tozero")
    if against == "trials":
        figure.update_xaxes(**whole_ticks(len(data)))
    figure.update_yaxes(title_text="Hypervolume (halvings of size and loss)", rangemode="tozero")
    return figure


def whole_ticks(most: int) -> dict[str, Any]:
    """Ticks of an axis of counts up to ``most``: none between whole numbers."""
    return {"dtick": 1} if most <= 10 else {"tickformat": ",d"}


RECENT = 50
"""Trials over which a verdict looks back."""
SETTLED = 0.01
"""Share of the hypervolume below which that many trials have found next to nothing."""


def verdict(data: pd.DataFrame, *, running: bool, left: int) -> str:
    """Whether more trials are worth it, from how the hypervolume grew: a sentence or two.

    Args:
        data: as :func:`progress_data` returns it.
        running: whether the sweep goes on.
        left: how many of its trials are to come.
    """
    if not len(data):
        return "No trial has ended yet."
    volumes, last = data["hypervolume"].to_numpy(), float(data["hypervolume"].iloc[-1])
    if last <= 0:
        return "No student has been found yet that is worth its bytes."
    back = min(RECENT, max(len(data) // 2, 1))
    before = float(volumes[-1 - back]) if back < len(data) else 0.0
    gained = (last - before) / last
    since = int(len(data) - data["trial"][data["improved"]].max()) if data["improved"].any() else len(data)
    told = f"{_percent(gained)} more hypervolume in the last {count(back, 'trial')}"
    told += f"; the front last became better {count(since, 'trial')} ago." if since else "; still growing."
    if len(data) < 2 * FEW:
        return f"{told} Too few trials to say whether more would find much."
    if gained < SETTLED and since >= back:
        more = f" The {left:,} that are left will hardly change it." if running and left else ""
        return f"{told} It looks done.{more}"
    # The gain of the next as many trials, if it falls off as it did between the last two stretches.
    earlier = float(volumes[-1 - 2 * back]) if 2 * back < len(data) else 0.0
    falls = min(max((last - before) / max(before - earlier, 1e-12), 0.0), 1.0)
    more = _percent(gained * falls)
    return f"{told} If it goes on to fall off like that, {count(back, 'more trial')} would add about {more}."


FEW = 10


def _percent(part: float) -> str:
    return f"{100 * part:.2g} %" if part else "0 %"


def states_data(trials: pd.DataFrame) -> pd.Series[int]:
    """State -> how many trials are in it; states without trials left out."""
    counts = trials["state"].value_counts()
    return pd.Series({state: int(counts[state]) for state in STATES if counts.get(state, 0)}, dtype="int64")


def states_figure(counts: pd.Series[int], total: int, theme: Theme = LIGHT) -> go.Figure:
    """One bar of all trials of a sweep, cut by state.

    Args:
        counts: as :func:`states_data` returns them.
        total: how many trials the sweep will have; what is missing is shown as to come.
        theme: its colours.
    """
    figure = styled(go.Figure(), theme, 96)
    colours = STATE_COLOURS
    waiting = max(total - int(counts.sum()), 0)
    for state, number in [*counts.items(), *([("to come", waiting)] if waiting else [])]:
        figure.add_bar(
            x=[number],
            y=[""],
            orientation="h",
            name=f"{number:,} {show_state(str(state))}",
            marker={"color": theme.colour(colours[str(state)]) if state in colours else theme.line},
            hovertemplate=f"{number:,} {show_state(str(state))}<extra></extra>",
        )
    figure.update_layout(
        showlegend=True,
        barmode="stack",
        margin={"l": 6, "r": 6, "t": 34, "b": 6},
        legend={"traceorder": "normal"},
    )
    figure.update_xaxes(visible=False, range=[0, max(int(counts.sum()), total, 1)])
    figure.update_yaxes(visible=False)
    return figure


def trainings_of(sweep: Sweep) -> int:
    """As much as how many whole trials the sweep may train; 0 if trials are counted alone."""
    text = sweep.params.get("trainings", "")
    return int(text) if text.isdecimal() else 0


def seconds_left(trials: pd.DataFrame, sweep: Sweep, now: pd.Timestamp, ending: float = 0.0) -> float:
    """How long a running sweep will take from ``now``; NaN if unknown.

    At the pace of its last 30 trials or, where trainings are counted, of all of them so far.

    Args:
        trials: that were drawn.
        sweep: whose they are.
        now: when that is.
        ending: seconds from its last trial's end to its own; default 0.
    """
    ends = trials["end_time"].dropna().sort_values()
    trainings, text = trainings_of(sweep), sweep.params.get("trials", "")
    total = trainings or (int(text) if text.isdecimal() else 0)
    if sweep.state != "running" or len(ends) < 2 or not total:
        return math.nan
    done = float(trials["trained"].sum()) if trainings else len(ends)
    since = max((now - ends.iloc[-1]).total_seconds(), 0.0)
    if done >= total:
        return max(ending - since, 0.0)
    if trainings:
        passed = (now - trials["start_time"].min()).total_seconds()
        return max(passed * (total / done - 1), 0.0) + ending if done else math.nan
    recent = ends.iloc[-30:]
    pace = (recent.iloc[-1] - recent.iloc[0]).total_seconds() / (len(recent) - 1)
    return max((total - done) * pace - min(since, pace), 0.0) + ending


def _no_worse(
    front: np.ndarray[tuple[int, int], np.dtype[np.float64]],
    row: np.ndarray[tuple[int], np.dtype[np.float64]],
    up: bool,
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return (front[:, 0] <= row[0]) & (front[:, 1] >= row[1] if up else front[:, 1] <= row[1])
