"""What the parameters of recipes do: which matter, and where the good ones lie."""

from __future__ import annotations

import threading
from typing import Any

import pandas as pd
from dash import Dash, Input, Output, State, dcc, html, no_update

from dashboards.address import Asked
from dashboards.axes import SIZE, Axis, axis_of, quality_axis
from dashboards.callbacks import Count, Text
from dashboards.figures.parameters import (
    contour_figure,
    doubtful,
    importance_figure,
    labels_of,
    parallel_figure,
    slice_figure,
)
from dashboards.figures.parts import empty
from dashboards.live import Live
from dashboards.pages.common import SWEEP, THEME, VERSION, choice, graph
from dashboards.text import fit_trials, told
from dashboards.theme import theme_of
from search.objectives.importance import FORESTS, MOST_TRIALS, free, importance_spread, ranked
from search.store.store import StoreError
from search.store.sweep import Sweep
from trainables.foreign import shown

PATH, TITLE = "/parameters", "Parameters"
MOST_LINES = 8


def layout(live: Live, sweep: Sweep | None, path: str, wanted: Asked) -> list[Any]:
    """The view of ``sweep`` before its callbacks have run."""
    return [
        html.Section(
            className="panel",
            children=[
                html.H2("What matters"),
                html.P(
                    "Share of the variance that each parameter explains by itself, over finished trials: "
                    "functional ANOVA of a random forest. Parameters that always change together share what "
                    "they explain. Whiskers: what it is if the trials are drawn again.",
                    className="caption",
                ),
                html.P(id="sampled", className="caption"),
                html.P(id="doubt"),
                dcc.Loading(graph("importance"), delay_show=400, type="dot"),
            ],
        ),
        html.Section(
            className="panel",
            children=[
                html.H2("One result over its parameters"),
                html.Div(
                    [
                        choice("result", "Result", [], None, width=230),
                        choice("first", "Parameter", [], None, width=300),
                        choice("second", "Second parameter", [], None, width=300),
                    ],
                    className="controls",
                ),
                html.Div(
                    [
                        html.Div([html.H3("Every trial"), graph("slice", height=360)]),
                        html.Div([html.H3("The best in each cell"), graph("contour", height=360)]),
                    ],
                    className="halves",
                ),
            ],
        ),
        html.Section(
            className="panel",
            children=[
                html.H2("All together"),
                html.P(
                    "A line per trial. Drag along an axis to keep the trials that pass there; drag its "
                    "name to move it.",
                    className="caption",
                ),
                html.Div(graph("parallel", height=420), className="scroll broad"),
            ],
        ),
    ]


class _Known:
    """Parameters and importances of the sweeps looked at last, computed once for all views and pages."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._lock = threading.Lock()
        self._parameters: dict[tuple[str, int], pd.DataFrame] = {}
        self._shares: dict[tuple[str, int], dict[str, pd.DataFrame]] = {}

    def parameters(self, sweep: Sweep) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Finished trials and their parameters, both by run id."""
        trials = self._live.trials(sweep)
        finished = (trials["state"] == "finished").to_numpy(dtype=bool, na_value=False)
        trials = trials[finished].set_index("run_id")
        key = (sweep.run_id, len(trials))
        with self._lock:
            if key not in self._parameters:
                found = fit_trials(self._live.store.parameters(sweep)).rename(columns=shown)
                found = free(found.reindex(trials.index))
                self._parameters = {**_latest(self._parameters), key: found}
            return trials, self._parameters[key]

    def shares(self, sweep: Sweep) -> dict[str, pd.DataFrame]:
        """Objective -> importance of each parameter, and how far it can be relied on."""
        trials, parameters = self.parameters(sweep)
        key = (sweep.run_id, len(trials))
        if key not in self._shares:
            found = {
                axis.label: importance_spread(parameters, pd.Series(axis.values(trials), index=trials.index))
                for axis in _objectives(sweep)
            }
            self._shares = {**_latest(self._shares), key: found}
        return self._shares[key]


def sampled(trials: int) -> str:
    """What a forest is grown on where that is not every finished trial; else empty."""
    if trials <= MOST_TRIALS:
        return ""
    drawn = f"{MOST_TRIALS:,} of {trials:,} finished trials, drawn at random"
    return f"Mean of {FORESTS + 1} forests, each of {drawn}."


def _latest(kept: dict[Any, Any]) -> dict[Any, Any]:
    return dict([*kept.items()][-7:])


def register(app: Dash, live: Live) -> None:
    """Connect the view to what is read."""
    known = _Known(live)
    _connect_menus(app, live, known)
    _connect_importance(app, live, known)
    _connect_figures(app, live, known)


def _connect_menus(app: Dash, live: Live, known: _Known) -> None:
    @app.callback(
        Output("result", "options"),
        Output("first", "options"),
        Output("second", "options"),
        Output("result", "value"),
        Output("first", "value"),
        Output("second", "value"),
        Input(VERSION, "data"),
        Input(SWEEP, "value"),
        State("result", "value"),
        State("first", "value"),
        State("second", "value"),
    )
    def offer(
        _: Count | None, name: Text | None, result: Text | None, first: Text | None, second: Text | None
    ) -> Any:
        sweep = live.sweep(name)
        try:
            found = None if sweep is None else known.parameters(sweep)
        except StoreError:
            found = None
        if sweep is None or found is None:
            return [], [], [], None, None, None
        trials, parameters = found
        results = {axis.key: axis.label for axis in _objectives(sweep, every=True)}
        axes = [{"value": key, "label": label} for key, label in results.items()]
        names = [str(column) for column in parameters]
        labels = labels_of(names)
        options = [{"value": each, "label": labels[each]} for each in names]
        order = _order(sweep, trials, parameters)
        first = first if first in names else next(iter(order), None)
        second = second if second in names else next((each for each in order if each != first), None)
        result = result if result in results else next(iter(results))
        return axes, options, options, result, first, second


def _connect_importance(app: Dash, live: Live, known: _Known) -> None:
    @app.callback(
        Output("importance", "figure"),
        Output("doubt", "children"),
        Output("sampled", "children"),
        Input(VERSION, "data"),
        Input(SWEEP, "value"),
        Input(THEME, "data"),
    )
    def matter(_: Count | None, name: Text | None, theme: Text | None) -> Any:
        sweep = live.sweep(name)
        try:
            shares = {} if sweep is None else known.shares(sweep)
        except StoreError as error:
            return empty(theme_of(theme), 300, told(error)), "", ""
        trials = 0 if sweep is None else len(known.parameters(sweep)[0])
        return importance_figure(shares, theme_of(theme)), doubtful(shares), sampled(trials)


def _connect_figures(app: Dash, live: Live, known: _Known) -> None:
    @app.callback(
        Output("slice", "figure"),
        Output("contour", "figure"),
        Output("parallel", "figure"),
        Input(VERSION, "data"),
        Input(SWEEP, "value"),
        Input("result", "value"),
        Input("first", "value"),
        Input("second", "value"),
        Input(THEME, "data"),
    )
    def draw(
        _: Count | None,
        name: Text | None,
        result: Text | None,
        first: Text | None,
        second: Text | None,
        theme: Text | None,
    ) -> Any:
        sweep, colours = live.sweep(name), theme_of(theme)
        nothing = empty(colours, 360, "No finished trial with parameters that differ yet")
        try:
            if sweep is None:
                return nothing, nothing, nothing
            trials, parameters = known.parameters(sweep)
        except StoreError:
            return no_update, no_update, no_update
        if first not in parameters or not len(trials):
            return nothing, nothing, nothing
        axis = axis_of(sweep.quality, result, quality_axis(sweep.quality))
        values = pd.Series(axis.values(trials), index=trials.index)
        one = slice_figure(parameters[first], values, axis, trials["front"], colours)
        two = nothing if second not in parameters else contour_figure(
            parameters[first], parameters[second], values, axis, colours
        )  # fmt: skip
        most = ranked(parameters, values)[:MOST_LINES]
        return one, two, parallel_figure(parameters[most], values, axis, colours)


def _objectives(sweep: Sweep, every: bool = False) -> list[Axis]:
    """The quality and what the sweep minimised; the packed size and latency too if all results are wanted."""
    quality = sweep.quality
    names = [*sweep.costs, *((SIZE.key, "latency_ms") if every else ())]
    return [quality_axis(quality), *(axis_of(quality, name, SIZE) for name in dict.fromkeys(names))]


def _order(sweep: Sweep, trials: pd.DataFrame, parameters: pd.DataFrame) -> list[str]:
    """Parameters, those first that spread the sweep's quality most."""
    return ranked(parameters, pd.Series(quality_axis(sweep.quality).values(trials), index=trials.index))
