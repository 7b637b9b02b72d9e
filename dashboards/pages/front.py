"""The front of one sweep, live: selector, headline numbers, figure and table."""

from __future__ import annotations

from typing import Any

import pandas as pd
from dash import Dash, Input, Output, State, dcc, html, no_update

from dashboards.figures import front_data, front_figure
from dashboards.style import PLOT_CONFIG
from dashboards.summary import (
    CAPTION,
    Card,
    cards,
    columns,
    facts,
    failures,
    footnote,
    front_rows,
    teacher_of,
)
from search.store import Store, StoreError, Sweep

RUNNING_MS, IDLE_MS = 4_000, 30_000
"""How often the page asks anew: while the sweep on show runs, and otherwise, for a sweep that begins."""

SELECTOR, TIMER, CONTENT, GRAPH = "sweep", "timer", "content", "front"


def layout() -> html.Main:
    """The page before anything is read; its callbacks fill it as soon as it is loaded."""
    return html.Main(
        className="page",
        children=[
            html.Header(
                className="masthead",
                children=[
                    html.Div(id="headline"),
                    html.Div(
                        className="selector",
                        children=[
                            html.Label("Sweep", htmlFor=SELECTOR),
                            dcc.Dropdown(id=SELECTOR, clearable=False, placeholder="No sweep yet"),
                        ],
                    ),
                ],
            ),
            html.Div(id=CONTENT),
            html.Section(
                id="plot",
                className="panel",
                children=[
                    html.H2("Quality against size"),
                    html.P(CAPTION, className="caption"),
                    dcc.Graph(id=GRAPH, className="plot", config=PLOT_CONFIG, animate=False),
                ],
            ),
            html.Div(id="table"),
            dcc.Interval(id=TIMER, interval=RUNNING_MS),
        ],
    )


def register(app: Dash, store: Store) -> None:
    """Connect the page's parts to the store."""

    @app.callback(
        Output(SELECTOR, "options"),
        Output(SELECTOR, "value"),
        Input(TIMER, "n_intervals"),
        State(SELECTOR, "value"),
        State(SELECTOR, "options"),
    )
    def refresh_selector(_: int | None, value: str | None, options: list[dict[str, str]] | None) -> Any:
        try:
            names = [str(name) for name in store.sweeps()["name"]]
        except StoreError:  # the other callback says so
            return no_update, no_update
        new = [{"label": name, "value": name} for name in names]
        chosen = value if value in names else next(iter(names), None)
        return no_update if new == options else new, no_update if chosen == value else chosen

    @app.callback(
        Output("headline", "children"),
        Output(CONTENT, "children"),
        Output("plot", "hidden"),
        Output(GRAPH, "figure"),
        Output("table", "children"),
        Output(TIMER, "interval"),
        Input(TIMER, "n_intervals"),
        Input(SELECTOR, "value"),
    )
    def refresh_view(_: int | None, value: str | None) -> Any:
        try:
            if value is None and store.sweeps().empty:
                return *_empty_view(), IDLE_MS
            sweep = store.sweep(value)
            return *view(store.trials(sweep.name), sweep), RUNNING_MS if sweep.state == "running" else IDLE_MS
        except StoreError as error:
            return (
                no_update,
                html.Div(str(error), className="problem"),
                no_update,
                no_update,
                no_update,
                RUNNING_MS,
            )


def view(trials: pd.DataFrame, sweep: Sweep) -> tuple[Any, ...]:
    """Headline, cards, whether the figure is hidden, the figure, and the table with its footnote."""
    figure = front_figure(front_data(trials, sweep.quality), sweep.quality, teacher=teacher_of(sweep))
    figure.update_layout(uirevision=sweep.run_id)  # keeps a zoom through a refresh, not into another sweep
    head = [
        html.Div("Rayduce", className="brand"),
        html.H1(sweep.name),
        html.P([_badge(sweep), " ", facts(sweep)], className="facts"),
    ]
    return (
        head,
        html.Section([_card(card) for card in cards(trials, sweep)], className="cards"),
        False,
        figure,
        [_table(trials, sweep), html.P(footnote(sweep), className="footnote")],
    )


def _empty_view() -> tuple[Any, ...]:
    head = [html.Div("Rayduce", className="brand"), html.H1("No sweep yet")]
    hint = html.P(
        [
            "This store is empty. Start one with ",
            html.Code("rayduce sweep digits"),
            "; it appears here by itself.",
        ],
        className="empty",
    )
    return head, html.Section(hint, className="panel"), True, {}, []


def _badge(sweep: Sweep) -> html.Span:
    return html.Span(sweep.state, className=f"state state-{sweep.state}")


def _card(card: Card) -> html.Div:
    return html.Div(
        [
            html.Div(card.label, className="label"),
            html.Div(card.value, className="value"),
            html.Div(card.note, className="note"),
        ],
        className="card",
    )


def _table(trials: pd.DataFrame, sweep: Sweep) -> html.Section:
    shown = columns(sweep.quality)
    head = html.Thead(html.Tr([html.Th(column.title, className=column.style) for column in shown]))
    body = [
        html.Tr([html.Td(_cell(column.key, row), className=column.style) for column in shown])
        for row in front_rows(trials, sweep)
    ]
    table: Any = html.Div(html.Table([head, html.Tbody(body)], className="front"), className="scroll")
    if not body:
        table = html.P("No trial has finished yet.", className="empty")
    failed = [html.Li(f"{name}: {reason}") for name, reason in failures(trials)]
    details = [html.Details([html.Summary(f"{len(failed)} failed"), html.Ul(failed)])] if failed else []
    return html.Section([html.H2("The front"), table, *details], className="panel")


def _cell(key: str, row: dict[str, str]) -> Any:
    if key == "name":
        return [
            html.Span(className="dot", style={"background": row["colour"]}),
            html.Span([html.B(row[key]), html.Br(), row["method"]], className="student"),
        ]
    if key == "command":
        return [
            html.Code(row[key], title="Click selects it all"),
            dcc.Clipboard(content=row[key], title="Copy", className="copy"),
        ]
    return row[key]
