"""How a sweep goes: what it has found so far, what runs, what failed and why, and how long it will take."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pandas as pd
from dash import Dash, Input, Output, dcc, html, no_update

from dashboards.address import Asked
from dashboards.callbacks import Count, Text
from dashboards.figures.progress import (
    AGAINST,
    UNIT,
    progress_data,
    progress_figure,
    seconds_left,
    states_data,
    states_figure,
    trainings_of,
    verdict,
)
from dashboards.figures.slots import slots_data, slots_figure
from dashboards.live import Live
from dashboards.pages.common import SWEEP, THEME, VERSION, choice, graph, note, panel, plain_table
from dashboards.text import duration, method_label, missing, score, size, told
from dashboards.theme import theme_of
from search.store.frames import drawn
from search.store.remaining import ending_seconds, seconds_each
from search.store.store import StoreError
from search.store.sweep import Sweep
from search.units import show_state

PATH, TITLE = "/progress", "Progress"
MOST_LISTED = 50
MOST_LOOKED_AT = 2_000
"""Trials of an earlier sweep that is read for how long its end took."""
_FIGURES = r"\d+(?:[.,]\d+)*|\bnone\b"


def layout(live: Live, sweep: Sweep | None, path: str, wanted: Asked) -> list[Any]:
    """The view of ``sweep`` before its callbacks have run."""
    return [
        panel("Trials", html.P(id="left", className="caption"), graph("states", height=96)),
        html.Section(
            className="panel",
            children=[
                html.H2("Hypervolume"),
                html.P(id="unit", className="caption"),
                html.Div([choice("against", "Over", [*AGAINST.items()], "trials")], className="controls"),
                graph("growth", height=340),
            ],
        ),
        panel(
            "When trials ran",
            graph("slots", height=116),
            caption="A bar per trial, in the lowest slot that was free when it started.",
        ),
        html.Div(id="running"),
        html.Div(id="reasons"),
    ]


def register(app: Dash, live: Live) -> None:
    """Connect the view to what is read."""

    @app.callback(
        Output("states", "figure"),
        Output("left", "children"),
        Output("running", "children"),
        Output("reasons", "children"),
        Output("slots", "figure"),
        Input(VERSION, "data"),
        Input(SWEEP, "value"),
        Input(THEME, "data"),
    )
    def tell(_: Count | None, name: Text | None, theme: Text | None) -> Any:
        sweep = live.sweep(name)
        if sweep is None:
            nothing = states_figure(pd.Series(dtype="int64"), 0, theme_of(theme))
            return nothing, "", [], [], no_update
        try:
            trials = drawn(live.trials(sweep))
        except StoreError as error:
            return no_update, html.Span(told(error)), [], [], no_update
        counts = states_data(trials)
        total = _total(sweep, len(trials))
        return (
            states_figure(counts, total if sweep.state == "running" else len(trials), theme_of(theme)),
            _left(live, trials, sweep),
            _running(trials, sweep),
            _reasons(trials),
            slots_figure(slots_data(trials, sweep, pd.Timestamp.now(tz="UTC")), theme_of(theme)),
        )

    @app.callback(
        Output("growth", "figure"),
        Output("unit", "children"),
        Input(VERSION, "data"),
        Input(SWEEP, "value"),
        Input("against", "value"),
        Input(THEME, "data"),
    )
    def grow(_: Count | None, name: Text | None, against: Text | None, theme: Text | None) -> Any:
        sweep = live.sweep(name)
        if sweep is None:
            return no_update, no_update
        try:
            data = progress_data(live.trials(sweep), sweep)
        except StoreError:
            return no_update, no_update
        figure = progress_figure(data, against if against in AGAINST else "trials", theme_of(theme))
        ended = len(data)
        left = max(_total(sweep, ended) - ended, 0)
        said = verdict(data, running=sweep.state == "running", left=left)
        return figure, [
            html.B(said),
            f" How much of the plane of size and loss the front covers: {UNIT}. Where it is flat, trials "
            "found little.",
        ]


def _total(sweep: Sweep, known: int) -> int:
    if trainings_of(sweep):  # in whatever number of trials
        return known
    text = sweep.params.get("trials", "")
    return max(int(text), known) if text.isdecimal() else known


def _left(live: Live, trials: pd.DataFrame, sweep: Sweep) -> str:
    if sweep.state != "running":
        return f"The sweep is over: {sweep.state}" + (
            f" after {duration(sweep.seconds)}." if sweep.seconds else "."
        )
    now, ending = pd.Timestamp.now(tz="UTC"), _ending(live, trials, sweep)
    elapsed, left = (now - sweep.start_time).total_seconds(), seconds_left(trials, sweep, now, ending)
    ended = int(trials["end_time"].notna().sum())
    so_far = f"Running for {duration(elapsed)}, {_done(trials, sweep, ended)}"
    if missing(left):
        return f"{so_far}."
    if left <= ending:
        return f"{so_far}; the front is measured and MLflow told, which takes about {duration(left)} more."
    return (
        f"{so_far}; at this pace about {duration(left)} are left, of which measuring the front and telling "
        f"MLflow take about {duration(ending)}."
    )


def _ending(live: Live, trials: pd.DataFrame, sweep: Sweep) -> float:
    """How long measuring and telling MLflow will take, as in the last finished sweep of the study if any."""
    front = int(trials["front"].sum())
    for other in live.sweeps:
        if other.study == sweep.study and other.state == "finished" and _total(other, 0) <= MOST_LOOKED_AT:
            try:
                each = seconds_each(live.trials(other), other.start_time, other.seconds)
            except StoreError:
                continue
            return ending_seconds(front, each)
    return ending_seconds(front)


def _done(trials: pd.DataFrame, sweep: Sweep, ended: int) -> str:
    if trainings := trainings_of(sweep):
        return f"{ended:,} trials ended, {trials['trained'].sum():.1f} of {trainings:,} trainings done"
    return f"{ended:,} of {_total(sweep, len(trials)):,} trials ended"


def _running(trials: pd.DataFrame, sweep: Sweep) -> Any:
    rows = trials[(trials["state"] == "running").to_numpy(dtype=bool, na_value=False)]
    if rows.empty:
        return []
    now = pd.Timestamp.now(tz="UTC")
    quality = sweep.quality
    body = [
        [
            dcc.Link(str(row["trial_id"]), href=f"/trial/{row['run_id']}"),
            method_label(row["method"]),
            "" if missing(row["name"]) else str(row["name"]),
            score(quality, row[quality.validation]),
            size(row["packed_bytes"]),
            duration((now - row["start_time"]).total_seconds()),
        ]
        for row in rows.iloc[:MOST_LISTED].to_dict("records")
    ]
    head = ["Trial", "Method", "Name", f"Validation {quality.label} so far", "Size so far", "For"]
    return panel("Running", plain_table(head, body, text_columns=3))


def reasons_of(trials: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """State, reason and trials of those that did not finish, the most frequent first.

    Reasons that differ in their numbers alone are one, with the range of each number that differs.
    """
    ended = trials[trials["state"].isin(["failed", "pruned", "stopped"]).to_numpy(dtype=bool)]
    reasons = ended["reason"].fillna("no reason was recorded").astype(str)
    kinds = reasons.str.replace(_FIGURES, "\0", regex=True)
    groups = ended.assign(reason=reasons, kind=kinds).groupby(["state", "kind"], sort=False)
    found = [(str(state), _ranged(group["reason"]), group) for (state, _), group in groups]
    return sorted(found, key=lambda group: -len(group[2]))


def _ranged(reasons: pd.Series[str]) -> str:
    """Reasons of one kind as one: each number that differs is the range of it, such as ``2-5``."""
    texts = list(reasons.unique())
    if len(texts) == 1:
        return str(texts[0])
    words = re.split(_FIGURES, texts[0])
    columns = zip(*(re.findall(_FIGURES, text) for text in texts), strict=True)
    shown = [_range(list(dict.fromkeys(column))) for column in columns]
    return "".join(part for pair in itertools.zip_longest(words, shown, fillvalue="") for part in pair)


def _range(figures: list[str]) -> str:
    """The least and the most of ``figures``, of which ``none`` is 0 beside others."""
    if len(figures) == 1:
        return figures[0]
    numbers = {"0" if text == "none" else text: _number(text) for text in figures}
    ends = min(numbers, key=lambda t: numbers[t]), max(numbers, key=lambda t: numbers[t])
    return "\N{EN DASH}".join(dict.fromkeys(ends))


def _number(text: str) -> float:
    return 0.0 if text == "none" else float(text.replace(",", ""))


def _reasons(trials: pd.DataFrame) -> Any:
    rows = reasons_of(trials)
    if not rows:
        return []
    body = [
        [
            show_state(state),
            reason,
            f"{len(group):,}",
            dcc.Link(str(group["trial_id"].iloc[0]), href=f"/trial/{group['run_id'].iloc[0]}"),
        ]
        for state, reason, group in rows[:MOST_LISTED]
    ]
    more = [note(f"and {len(rows) - MOST_LISTED:,} other reasons")] if len(rows) > MOST_LISTED else []
    table = plain_table(["State", "Reason", "Trials", "Such as"], body, text_columns=2)
    return panel("Did not finish, and why", table, *more)
