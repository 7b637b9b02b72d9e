"""The front: any numbers of all trials against each other, and a table of what is selected."""

from __future__ import annotations

from typing import Any, NamedTuple

import pandas as pd
import plotly.graph_objects as go
from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html, no_update

from dashboards.address import Asked, one_of
from dashboards.axes import SIZE, axes_of, axis_of, quality_axis, size_axis
from dashboards.callbacks import Count, Text
from dashboards.figures.front import front_figure
from dashboards.figures.front_view import COLOURS, SCALES, first_scale, front_view
from dashboards.live import Live
from dashboards.pages import front_table, ship
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
    "Filled: students; in full colour, no other is better in everything shown. Hollow: ended early. "
    "Ringed: the one to ship. Whiskers: 95 % intervals, where there are any. Shaded green: inside the "
    "sweep's limits. A click opens the trial; lasso and box choose what the table lists."
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


def layout(live: Live, sweep: Sweep | None, path: str, wanted: Asked) -> list[Any]:
    """The view of ``sweep`` before its callbacks have run, as the address wants it."""
    found = _choices(live, sweep)
    scale = one_of(wanted, "scale", SCALES, _first_scale(live, sweep))
    return [
        html.Div(
            className="decide",
            children=[
                html.Section(
                    className="panel main",
                    children=[
                        html.Details(
                            [
                                html.Summary("Axes, colours, sweeps over each other"),
                                _menus(found, wanted, scale),
                            ],
                            className="fold",
                            open=True,
                        ),
                        html.Div(graph(GRAPH, SELECTING_CONFIG, height=300), className="place"),
                        html.P(_CAPTION, className="caption"),
                    ],
                ),
                ship.panel(sweep, wanted),
            ],
        ),
        html.Div(id="cards"),
        front_table.panel(),
        html.P(id="footnote", className="footnote"),
        dcc.Store(id="chosen"),
        dcc.Store(id="told-address"),
        *front_table.stores(),
    ]


def _first_scale(live: Live, sweep: Sweep | None) -> str:
    """What is chosen at first of :data:`SCALES`."""
    try:
        return "lost" if sweep is None else first_scale(sweep, live.trials(sweep))
    except StoreError:
        return "lost"


def _menus(found: _Choices, wanted: Asked, scale: str | None) -> html.Div:
    axes, others = dict(found.axes), dict(found.others)
    over = [name for name in wanted.get("overlay", "").split(" ") if name in others]
    first = html.Div(
        [
            choice("x", "Across", found.axes, one_of(wanted, "x", axes, found.x), placeholder="packed size"),
            choice("y", "Up", found.axes, one_of(wanted, "y", axes, found.y), placeholder="validation"),
            choice("scale", "Shown", [*SCALES.items()], scale, width=180),
            dcc.Checklist(
                id="ended",
                options=[{"value": "shown", "label": "ended early"}],
                value=[] if wanted.get("ended") == "hidden" else ["shown"],
                className="switch",
            ),
        ],
        className="controls",
    )
    more = html.Div(
        [
            choice("z", "Third axis", found.third, one_of(wanted, "z", axes, NO_AXIS), width=120),
            choice(
                "colour", "Colour", [*COLOURS.items()], one_of(wanted, "colour", COLOURS, "method"), width=110
            ),
            choice(
                "overlay", "Over it", found.others, over, multiple=True, width=180, placeholder="other sweeps"
            ),
        ],
        className="controls",
    )
    set_already = any(name in wanted for name in ("z", "colour", "overlay"))
    return html.Div([first, html.Details([html.Summary("more"), more], className="more", open=set_already)])


def register(app: Dash, live: Live) -> None:
    """Connect the view to what is read."""
    ship.register(app, live)
    _connect_menus(app, live)
    _connect_figure(app, live)
    _connect_words(app, live)
    _connect_choice(app)
    front_table.register(app, live)
    kept = ("x", "y", "z", "colour", "overlay", "scale", "ended")
    app.clientside_callback(
        ClientsideFunction("address", "front"),
        Output("told-address", "data"),
        *[Input(name, "value") for name in kept],
        *ship.FIELDS,
    )


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
        Input("scale", "value"),
        Input("ended", "value"),
        Input(THEME, "data"),
        *ship.FIELDS,
    )
    def draw(
        _: Count | None,
        name: Text | None,
        x: Text | None,
        y: Text | None,
        z: Text | None,
        colour: Text | None,
        overlay: list[Text] | None,
        scale: Text | None,
        ended: list[Text] | None,
        theme: Text | None,
        most: ship.Number | None,
        drop: ship.Number | None,
        latency: ship.Number | None,
        ram: ship.Number | None,
    ) -> Any:
        sweep = live.sweep(name)
        if sweep is None or theme is None:
            return no_update
        look = _Look((x, y, z), colour, scale, bool(ended), ship.values_of(most, drop, latency, ram))
        try:
            over = front_table.overlaid(live, sweep, overlay)
            return _figure([(each, live.trials(each)) for each in (sweep, *over)], look, theme_of(theme))
        except StoreError:
            return no_update  # the headline says so


class _Look(NamedTuple):
    """What a visitor chose of the figure."""

    axes: tuple[str | None, str | None, str | None]
    colour: str | None
    scale: str | None
    ended: bool
    limits: dict[str, float | None]


def _figure(shown: list[tuple[Sweep, pd.DataFrame]], look: _Look, theme: Theme) -> go.Figure:
    """The front of the first sweep ``shown`` under the others, on the axes that are chosen."""
    (sweep, trials), (x, y, z) = shown[0], look.axes
    quality = sweep.quality
    view = front_view(
        shown,
        x=axis_of(quality, x, size_axis(sweep)),
        y=axis_of(quality, y, quality_axis(quality)),
        z=None if z in (None, NO_AXIS) else axis_of(quality, z, SIZE),
        colour=look.colour if look.colour in COLOURS else "method",
        scale=look.scale if look.scale in SCALES else "near",
        ended=look.ended,
    )
    student = ship.choice_of(sweep, trials, look.limits)[0].student
    figure = front_figure(view, theme, chosen=None if student is None else str(student["run_id"]))
    # Keeps a zoom through a refresh, not into other axes or another sweep.
    figure.update_layout(
        uirevision=f"{sweep.run_id} {x} {y} {z} {look.scale}", selectionrevision=f"{sweep.run_id} {x} {y}"
    )
    figure.layout.height = None  # as tall as its place, which is taller on a phone
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
            html.Section(
                [_card(card) for card in cards(trials, sweep, live.alike(sweep))], className="cards"
            ),
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
