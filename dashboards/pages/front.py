"""The front: any numbers of all trials against each other, and a table of what is selected."""

from __future__ import annotations

from typing import Any, NamedTuple

import pandas as pd
import plotly.graph_objects as go
from dash import Dash, Input, Output, State, dcc, html, no_update

from dashboards.axes import SIZE, axes_of, axis_of, quality_axis, size_axis
from dashboards.callbacks import Count, Text
from dashboards.figures.front import front_figure
from dashboards.figures.front_view import COLOURS, front_view
from dashboards.live import Live
from dashboards.pages import front_table
from dashboards.pages.common import SWEEP, THEME, URL, VERSION, choice, graph, menu
from dashboards.style import SELECTING_CONFIG
from dashboards.summary import Card, cards, failures, footnote
from dashboards.text import told
from dashboards.theme import Theme, theme_of
from search.store.store import StoreError
from search.store.sweep import Sweep

PATH, TITLE = "/", "Front"
GRAPH = "front"
NO_AXIS = "none"
_CAPTION = (
    "Each mark is one student; in full colour, no other is better in everything shown. A click opens the "
    "trial; lasso and box, at the right, choose what the table lists. Shaded green: inside the budgets."
)


# Plotly tells some 300 bytes of a selected point; the server needs its run id.
_CHOOSE = """
(selected) => {
  const by = dash_clientside.callback_context.triggered_id;
  if (by !== "front" || !selected?.points?.length) return null;
  return selected.points.map((point) => point.customdata).filter((run) => typeof run === "string");
}
"""
_OPEN = """
(click) => {
  const run = click?.points?.[0]?.customdata;
  return /^[0-9a-f]{32}$/.test(run) ? `/trial/${run}` : dash_clientside.no_update;
}
"""


def layout(live: Live, sweep: Sweep | None, path: str) -> list[Any]:
    """The view of ``sweep`` before its callbacks have run."""
    found = _choices(live, sweep)
    return [
        html.Div(id="cards"),
        html.Section(
            className="panel",
            children=[
                html.Div(
                    [
                        choice("x", "Across", found.axes, found.x, placeholder="packed size"),
                        choice("y", "Up", found.axes, found.y, placeholder="validation quality"),
                        choice("z", "Third axis", found.third, NO_AXIS, width=150, placeholder="none"),
                        choice("colour", "Colour", [*COLOURS.items()], "method", width=130),
                        choice(
                            "overlay",
                            "Over it",
                            found.others,
                            None,
                            multiple=True,
                            width=230,
                            placeholder="other sweeps",
                        ),
                    ],
                    className="controls",
                ),
                html.P(_CAPTION, className="caption"),
                graph(GRAPH, SELECTING_CONFIG, height=480),
            ],
        ),
        front_table.panel(),
        html.P(id="footnote", className="footnote"),
        dcc.Store(id="chosen"),
        *front_table.stores(),
    ]


def register(app: Dash, live: Live) -> None:
    """Connect the view to what is read."""
    _connect_menus(app, live)
    _connect_figure(app, live)
    _connect_words(app, live)
    _connect_choice(app)
    front_table.register(app, live)


def _connect_menus(app: Dash, live: Live) -> None:
    @app.callback(
        Output("x", "options"),
        Output("y", "options"),
        Output("z", "options"),
        Output("overlay", "options"),
        Output("x", "value"),
        Output("y", "value"),
        Output("z", "value"),
        Input(VERSION, "data"),
        Input(SWEEP, "value"),
        State("x", "value"),
        State("y", "value"),
        State("z", "value"),
        prevent_initial_call=True,  # the layout has them
    )
    def offer(_: Count | None, name: Text | None, x: Text | None, y: Text | None, z: Text | None) -> Any:
        found = _choices(live, live.sweep(name))
        known = dict(found.axes)
        chosen = (
            x if x in known else found.x,
            y if y in known else found.y,
            z if z in known else NO_AXIS,
        )
        axes = menu(found.axes)
        return axes, axes, menu(found.third), menu(found.others), *chosen


def _connect_figure(app: Dash, live: Live) -> None:
    @app.callback(
        Output(GRAPH, "figure"),
        Input(VERSION, "data"),
        Input(SWEEP, "value"),
        Input("x", "value"),
        Input("y", "value"),
        Input("z", "value"),
        Input("colour", "value"),
        Input("overlay", "value"),
        Input(THEME, "data"),
    )
    def draw(
        _: Count | None,
        name: Text | None,
        x: Text | None,
        y: Text | None,
        z: Text | None,
        colour: Text | None,
        overlay: list[Text] | None,
        theme: Text | None,
    ) -> Any:
        sweep = live.sweep(name)
        if sweep is None or theme is None:
            return no_update
        try:
            shown = [
                (each, live.trials(each)) for each in (sweep, *front_table.overlaid(live, sweep, overlay))
            ]
            return _figure(shown, (x, y, z), colour, theme_of(theme))
        except StoreError:
            return no_update  # the headline says so


def _figure(
    shown: list[tuple[Sweep, pd.DataFrame]],
    axes: tuple[str | None, str | None, str | None],
    colour: str | None,
    theme: Theme,
) -> go.Figure:
    """The front of the first sweep ``shown`` under the others, on the axes that are chosen."""
    sweep, (x, y, z) = shown[0][0], axes
    quality = sweep.quality
    view = front_view(
        shown,
        x=axis_of(quality, x, size_axis(sweep)),
        y=axis_of(quality, y, quality_axis(quality)),
        z=None if z in (None, NO_AXIS) else axis_of(quality, z, SIZE),
        colour=colour if colour in COLOURS else "method",
    )
    figure = front_figure(view, theme)
    # Keeps a zoom through a refresh, not into other axes or another sweep.
    figure.update_layout(
        uirevision=f"{sweep.run_id} {x} {y} {z}", selectionrevision=f"{sweep.run_id} {x} {y}"
    )
    return figure


def _connect_words(app: Dash, live: Live) -> None:
    @app.callback(
        Output("cards", "children"),
        Output("failures", "children"),
        Output("footnote", "children"),
        Input(VERSION, "data"),
        Input(SWEEP, "value"),
    )
    def tell(_: Count | None, name: Text | None) -> Any:
        sweep = live.sweep(name)
        if sweep is None:
            return [], [], ""
        try:
            trials = live.trials(sweep)
        except StoreError as error:
            return html.Div(told(error), className="problem"), [], ""
        return (
            html.Section([_card(card) for card in cards(trials, sweep)], className="cards"),
            _failures(trials),
            footnote(sweep),
        )


def _connect_choice(app: Dash) -> None:
    """What the browser does alone: choose trials, open a trial."""
    app.clientside_callback(
        _CHOOSE,
        Output("chosen", "data"),
        Input(GRAPH, "selectedData"),
        Input("clear", "n_clicks"),
        Input(SWEEP, "value"),
        prevent_initial_call=True,
    )
    app.clientside_callback(
        _OPEN, Output(URL, "pathname"), Input(GRAPH, "clickData"), prevent_initial_call=True
    )


class _Choices(NamedTuple):
    """What the menus offer, and what of it is chosen at first."""

    axes: list[tuple[str, str]]
    third: list[tuple[str, str]]
    others: list[tuple[str, str]]
    x: str | None
    y: str | None


def _choices(live: Live, sweep: Sweep | None) -> _Choices:
    try:
        quality, x = (None, SIZE) if sweep is None else (sweep.quality, size_axis(sweep))
    except StoreError:
        quality, x = None, SIZE
    if sweep is None or quality is None:
        return _Choices([], [], [], SIZE.key, None)
    axes = [(axis.key, axis.label) for axis in axes_of(quality)]
    others = [
        (other.name, other.name)
        for other in live.sweeps
        if other.metric == sweep.metric and other.name != sweep.name
    ]
    return _Choices(axes, [(NO_AXIS, "none"), *axes], others, x.key, quality.validation)


def _card(card: Card) -> html.Div:
    return html.Div(
        [
            html.Div(card.label, className="label"),
            html.Div(card.value, className="value"),
            html.Div(card.note, className="note"),
        ],
        className="card",
    )


def _failures(trials: pd.DataFrame) -> list[Any]:
    failed = failures(trials)
    if not failed:
        return []
    items = [html.Li(f"{name}: {reason}") for name, reason in failed[:100]]
    more = [html.Li(f"and {len(failed) - 100} more")] if len(failed) > 100 else []
    return [html.Details([html.Summary(f"{len(failed)} failed"), html.Ul([*items, *more])])]
