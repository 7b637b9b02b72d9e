"""One trial: how it was trained, where its bytes are, and how to take it away."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlencode

import pandas as pd
from dash import Dash, Input, Output, State, ctx, dcc, html, no_update

from dashboards.address import Asked, asked
from dashboards.callbacks import Count, Text
from dashboards.figures.trial import bytes_figure, curves_figure, levels_figure
from dashboards.live import Live
from dashboards.pages.common import (
    SWEEP,
    THEME,
    URL,
    VERSION,
    aria,
    command,
    graph,
    note,
    panel,
    plain_table,
)
from dashboards.pages.finding import ADDRESS as ADDRESS  # by which the pages know an address of this one
from dashboards.pages.finding import TRIAL, find_trial
from dashboards.pages.layers import layers_table
from dashboards.pages.mistakes import gallery
from dashboards.pages.trial_file import of_the_file
from dashboards.summary import further_facts
from dashboards.table import Column, columns_of
from dashboards.text import (
    duration,
    fit_trials,
    method_label,
    milliseconds,
    missing,
    number,
    score,
    share,
    size,
    times,
    told,
)
from dashboards.theme import Theme, theme_of
from dashboards.where import own_code, where
from search.objectives.certainty import SPLITS
from search.objectives.on_split import SURE, no_interval, on_split, reported
from search.store.store import StoreError
from search.store.sweep import Sweep
from search.store.tracebacks import traceback_of
from search.units import show_state
from trainables.metrics import Quality

PATH, TITLE = TRIAL, "Trial"
NEIGHBOURS = 2


def layout(live: Live, sweep: Sweep | None, path: str, wanted: Asked) -> list[Any]:
    """The view of ``sweep`` before its callbacks have run."""
    name = None if sweep is None else sweep.name
    search = urlencode(wanted)
    untrained, unshipped = _empty(live, path, name, search)
    return [
        html.Div(_told(live, path, name, search), id="trial-head"),
        html.Div(panel("While it trained", graph("curves")), id="trained", hidden=untrained),
        gallery(pair=False),
        html.Div(of_the_file(), id="shipped", hidden=unshipped),
        html.Div(id="recipe"),
        dcc.Store(id="tensors"),
    ]


def _empty(live: Live, path: str | None, name: str | None, search: str | None) -> tuple[bool, bool]:
    """Whether a trial has no curves, and whether it has no file: no empty charts of what is not there."""
    try:
        found = find_trial(live, path, name, search)
    except StoreError:
        return False, False
    if found is None:
        return True, True
    row = found[1].iloc[found[2]]
    state, unmeasured = str(row["state"]), missing(row[found[0].quality.validation])
    return state != "running" and unmeasured, state in ("failed", "pruned", "stopped")


def register(app: Dash, live: Live) -> None:
    """Connect the view to what is read."""
    _connect_head(app, live)
    _connect_curves(app, live)
    _connect_contents(app, live)
    _connect_levels(app, live)


def _connect_head(app: Dash, live: Live) -> None:
    @app.callback(
        Output("trial-head", "children"),
        Output("trained", "hidden"),
        Output("shipped", "hidden"),
        Input(VERSION, "data"),
        Input(SWEEP, "value"),
        State(URL, "pathname"),
        State(URL, "search"),
        prevent_initial_call=True,  # the layout has it already
    )
    def tell(_: Count | None, name: Text | None, path: Text | None, search: Text | None) -> Any:
        return _told(live, path, name, search), *_empty(live, path, name, search)


def _connect_curves(app: Dash, live: Live) -> None:
    @app.callback(
        Output("curves", "figure"),
        Input(VERSION, "data"),
        Input(SWEEP, "value"),
        Input(THEME, "data"),
        State(URL, "pathname"),
        State(URL, "search"),
    )
    def curves(
        _: Count | None, name: Text | None, theme: Text | None, path: Text | None, search: Text | None
    ) -> Any:
        try:
            found = find_trial(live, path, name, search)
            history = pd.DataFrame() if found is None else fit_trials(live.store.history(_run_id(found)))
        except StoreError:
            return no_update
        if found is None:
            return no_update
        return curves_figure(history, found[0].quality, theme_of(theme), teacher=found[0].teacher_validation)


def _connect_contents(app: Dash, live: Live) -> None:
    @app.callback(
        Output("bytes", "children"),
        Output("tensor", "options"),
        Output("tensor", "value"),
        Output("tensors", "data"),
        Output("recipe", "children"),
        Output("layers", "children"),
        Input(VERSION, "data"),
        Input(SWEEP, "value"),
        Input(THEME, "data"),
        State(URL, "pathname"),
        State(URL, "search"),
        State("tensor", "value"),
        State("tensors", "data"),
    )
    def contents(
        _: Count | None,
        name: Text | None,
        theme: Text | None,
        path: Text | None,
        search: Text | None,
        value: Text | None,
        known: Text | None,
    ) -> Any:
        try:
            found = find_trial(live, path, name, search)
        except StoreError as error:
            return note(told(error)), [], None, None, [], []
        if found is None:
            return [], [], None, None, [], []
        run_id = _run_id(found)
        if run_id == known and ctx.triggered_id == VERSION:
            return (no_update,) * 6  # a file that was shipped stays as it is
        shown = _bytes(live, run_id, value, theme_of(theme))
        return *shown, _recipe(live, run_id), layers_table(live, run_id)


def _bytes(
    live: Live, run_id: str, chosen: str | None, theme: Theme
) -> tuple[Any, list[dict[str, str]], str | None, str | None]:
    """Where a file's bytes are, the tensors whose levels can be shown, which is, and of which trial."""
    try:
        tensors = live.store.tensors(run_id)
    except StoreError as error:
        return note(told(error)), [], None, None
    named = [str(row["name"]) for row in tensors.to_dict("records") if row["levels"]]
    if chosen not in named:
        largest = tensors[tensors["name"].isin(named)].sort_values("bytes", ascending=False)["name"]
        chosen = next(iter(largest), None)
    figure = bytes_figure(tensors, theme)
    where = graph("where", figure=figure, height=int(figure.layout.height))
    return where, [{"value": each, "label": each} for each in named], chosen, run_id


def _connect_levels(app: Dash, live: Live) -> None:
    @app.callback(
        Output("levels", "figure"), Input("tensor", "value"), Input("tensors", "data"), Input(THEME, "data")
    )
    def levels(tensor: Text | None, run_id: Text | None, theme: Text | None) -> Any:
        return _levels(live, run_id, tensor, theme_of(theme))


_NOTHING = "Nothing is on show yet: click a mark or a number in the front, and the trial opens here."


def _told(live: Live, path: str | None, name: str | None, search: str | None) -> Any:
    """What is said of the trial above its figures."""
    try:
        found = find_trial(live, path, name, search)
        if found is None:
            return html.Section(note(_missing(live, path, name, search)), className="panel")
        sweep, trials, place = found
        return _head(live, sweep, trials, place, trials.iloc[place].to_dict())
    except StoreError as error:
        return html.Div(told(error), className="problem")


def _missing(live: Live, path: str | None, name: str | None, search: str | None) -> str:
    """Why there is no trial at an address."""
    if ADDRESS.fullmatch(path or ""):
        return "There is no such trial in this store."
    wanted, sweep = asked(search).get("trial"), live.sweep(name)
    if not wanted or sweep is None:
        return _NOTHING
    return f"There is no trial {wanted} in the sweep {sweep.name}."


def _run_id(found: tuple[Sweep, pd.DataFrame, int]) -> str:
    _, trials, place = found
    return str(trials["run_id"].iloc[place])


def _head(live: Live, sweep: Sweep, trials: pd.DataFrame, place: int, row: dict[Any, Any]) -> list[Any]:
    run_id, quality = str(row["run_id"]), sweep.quality
    state = str(row["state"])
    title = html.Div(
        [
            html.H1(str(row["name"])),
            html.P(
                [
                    html.Span(show_state(state), className=f"state state-{state}"),
                    f" Trial {row['trial_id']} of ",
                    dcc.Link(sweep.name, href="/"),
                    "" if missing(row["reason"]) else f": {row['reason']}",
                    " · on the front" if row["front"] else "",
                ],
                className="facts",
            ),
        ],
        className="masthead",
    )
    facts = [
        ("In words", _words(row)),
        ("Packed", " · ".join(p for p in (size(row["packed_bytes"]), _smaller(row)) if p)),
        ("In ONNX", size(row["onnx_bytes"])),
        ("Activation memory", size(row["ram_bytes"])),
        *(
            (each.label.capitalize() if each.label.islower() else each.label, _scores(each, row, sweep))
            for each in quality.reported
        ),
        ("Lost to the teacher", _lost(row, sweep)),
        ("Latency", f"{milliseconds(row['latency_ms'])} ms" if not missing(row["latency_ms"]) else ""),
        ("Multiply-adds", number(row["macs"])),
        *further_facts(sweep, row),
        ("Zeros", share(row["sparsity"])),
        ("Bits per weight", number(row["mean_bits"])),
        ("Parameters", number(row["parameters"])),
        ("Took", duration(row["seconds"])),
        ("Goes on from", _trial(row["continues"])),
        ("Made by", _trial(row["copied_from"])),
        ("Trained with", _trial(row["trained_with"])),
        ("Recipe", "" if missing(row["recipe_id"]) else str(row["recipe_id"])),
    ]
    listed = html.Dl(
        [part for name, text in facts if text for part in (html.Dt(name), html.Dd(text))], className="facts"
    )
    take: list[Any] = [note("It shipped no file.")]
    if state == "finished":
        take = [
            html.A(
                "Download the packed file", href=f"/student/{run_id}.rdz", className="button", download=""
            ),
            command(f"rayduce export {run_id} student.rdz{where(live.store)}"),
            command(f"rayduce export {run_id} student.onnx{own_code(row['model'])}{where(live.store)}"),
            command(f"rayduce evaluate student.rdz{own_code(row['model'])}"),
            *_where_own_code_is(row["model"]),
        ]
    link = _mlflow(live, sweep, run_id)
    left = panel("What it is", listed)
    right = panel("Take it away", *take, *link)
    halves = html.Div([left, right], className="halves")
    return [title, halves, *_why(live, run_id, state), _neighbours(trials, place, sweep)]


def _why(live: Live, run_id: str, state: str) -> list[Any]:
    """The whole traceback of a failed trial."""
    if state != "failed":
        return []
    try:
        text = traceback_of(live.store, run_id)
    except StoreError:
        text = ""
    if not text:
        return [panel("Why it failed", note("No traceback is kept of it: its process died, or was lost."))]
    # A text that scrolls is reached by keys, too.
    return [panel("Why it failed", html.Pre(text, className="tall", tabIndex=0, **aria(label="Traceback")))]


def _words(row: dict[Any, Any]) -> str:
    parts = [
        method_label(row["method"]),
        ""
        if missing(row["model"])
        else f"{row['model']} of depth {number(row['depth'])} and width {number(row['width'])}",
        "" if missing(row["bits"]) else f"{row['bits']} bit",
        "" if missing(row["bucket_size"]) else f"buckets of {row['bucket_size']}",
        f"{share(row['sparsity_target'])} pruned"
        if not missing(row["sparsity_target"]) and row["sparsity_target"]
        else "",
    ]
    return ", ".join(part for part in parts if part)


def _where_own_code_is(model: Any) -> list[Any]:
    """What the commands cannot say: nobody keeps where a user's code lies."""
    if not own_code(model):
        return []
    place = "in its folder" if str(model).endswith(".py") else "where it can be imported"
    return [html.P(f"Those that name {model} are typed {place}, or are given its path.", className="caption")]


def _trial(name: Any) -> str:
    return "" if missing(name) else f"trial {name}"


def _smaller(row: dict[Any, Any]) -> str:
    ratio = times(row["compression_ratio"])
    return f"{ratio} smaller than the teacher" if ratio else ""


def _scores(each: Quality, row: dict[Any, Any], sweep: Sweep) -> str:
    """A quality on both splits; that of the sweep with its intervals, or why it has none."""
    if each != sweep.quality:
        parts = [("validation", row[each.validation]), ("test", row[each.name])]
        return " · ".join(f"{score(each, value)} {split}" for split, value in parts if not missing(value))
    found = [split for prefix in SPLITS if (split := on_split(row, sweep.teacher, each, prefix))]
    told = " · ".join(f"{split.value_text()} {split.split}" for split in found)
    if any(split.between for split in found):
        return f"{told}; in brackets: {SURE} intervals"
    return f"{told}. {no_interval(each)}." if told else ""


def _lost(row: dict[Any, Any], sweep: Sweep) -> str:
    """On the test split where it was measured, else on validation."""
    found = reported(row, sweep.teacher, sweep.quality)
    return f"{lost} on {found.split}" if found is not None and (lost := found.lost_text()) else ""


def _mlflow(live: Live, sweep: Sweep, run_id: str) -> list[Any]:
    uri = live.store.tracking_uri
    path = f"/#/experiments/{live.store.experiment_of(sweep)}/runs/{run_id}"
    if re.match(r"https?://", uri) and "@" not in uri:
        return [html.A("Its run in MLflow", href=uri.rstrip("/") + path, target="_blank", rel="noreferrer")]
    return [
        html.P(
            [
                html.A(
                    "Its run in MLflow",
                    href=f"http://127.0.0.1:5000{path}",
                    target="_blank",
                    rel="noreferrer",
                ),
                ", while ",
                html.Code("rayduce mlflow"),
                " runs.",
            ],
            className="caption",
        )
    ]


def _neighbours(trials: pd.DataFrame, place: int, sweep: Sweep) -> Any:
    """The members of the front next to the trial by size, with itself between them."""
    own, by = trials.iloc[place], sweep.size
    front = trials[trials["front"] & (trials["run_id"] != own["run_id"])].sort_values(by)
    if front.empty or missing(own[by]):
        return []
    smaller = front[front[by] <= own[by]].iloc[-NEIGHBOURS:]
    larger = front[front[by] > own[by]].iloc[:NEIGHBOURS]
    rows = pd.concat([smaller, own.to_frame().T, larger]).to_dict("records")
    columns = [
        column for column in columns_of(sweep.quality, sweep.asked) if column.key not in ("state", "trial_id")
    ]
    body = [[_named(row, own), *(column.show(row[column.key]) for column in columns)] for row in rows]
    return panel("Beside it on the front", plain_table(["Trial", *(_titles(columns))], body, text_columns=2))


def _titles(columns: list[Column]) -> list[str]:
    return [column.title for column in columns]


def _named(row: dict[Any, Any], own: pd.Series[Any]) -> Any:
    if row["run_id"] == own["run_id"]:
        return html.B("this one")
    return dcc.Link(str(row["trial_id"]), href=f"/trial/{row['run_id']}")


def _recipe(live: Live, run_id: str) -> Any:
    try:
        text = json.dumps(live.store.recipe(run_id), indent=2, sort_keys=True)
    except StoreError as error:
        return panel("Recipe", note(told(error)))
    return html.Section(html.Details([html.Summary("The whole recipe"), html.Pre(text)]), className="panel")


def _levels(live: Live, run_id: str | None, tensor: str | None, theme: Theme) -> Any:
    if run_id is None or tensor is None:
        return levels_figure([], "", theme)
    try:
        tensors = live.store.tensors(run_id)
    except StoreError:
        return no_update
    found = tensors[tensors["name"] == tensor]
    if found.empty:
        return levels_figure([], "", theme)
    row = found.iloc[0]
    stored = "Level, in units of its bucket's scale" if row["bits"] <= 8 else "Value (middles of 32 bins)"
    return levels_figure(row["levels"], stored, theme)
