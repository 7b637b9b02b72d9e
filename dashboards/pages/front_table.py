"""The table under the front: which trials it lists, in which order, and as CSV."""

from __future__ import annotations

from typing import Any, NamedTuple

import pandas as pd
from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html, no_update

from dashboards.callbacks import Count, Order, Text
from dashboards.figures.front_view import SHOWN_STATES
from dashboards.live import Live
from dashboards.pages import ship
from dashboards.pages.common import SWEEP, VERSION
from dashboards.table import ROWS, arranged, columns_of, page_of, to_csv
from dashboards.text import told
from search.objectives.certainty import VALIDATION, has_intervals
from search.objectives.on_split import SURE, on_split
from search.store.store import StoreError
from search.store.sweep import Sweep
from search.units import count

_ARRANGE = """
(clicks, pressed, order) => {
  const by = dash_clientside.callback_context.triggered_id;
  if (by === "only" && clicks) return {...order, front: !order.front, page: 0};
  if (by !== "pressed" || !pressed) return dash_clientside.no_update;
  const {key, step, pages} = pressed;
  if (key) return {...order, key, down: order.key === key && !order.down, page: 0};
  return {...order, page: Math.min(Math.max(order.page + step, 0), pages - 1)};
}
"""


LOST = "lost"
"""Key of the column of what is lost, with its interval."""


def panel() -> html.Section:
    """Where the table stands, with its buttons."""
    return html.Section(
        className="panel",
        children=[
            html.Div(
                [
                    html.H2(id="listed"),
                    html.Div(
                        [
                            dcc.Link("Tick two to compare them", href="/pair", id="both", className="idle"),
                            html.Button("Front only", id="only", type="button", className="quiet"),
                            html.Button("Clear selection", id="clear", type="button", className="quiet"),
                            html.Button("Download CSV", id="save", type="button", className="quiet"),
                        ]
                    ),
                ],
                className="titled",
            ),
            html.Div(id="table"),
            html.Div(id="failures"),
        ],
    )


def stores() -> list[Any]:
    """What the table keeps in the browser."""
    return [
        dcc.Store(id="listing"),
        dcc.Store(id="ticked", data=[]),
        dcc.Store(id="drawn"),
        dcc.Store(id="pressed"),
        dcc.Store(id="order", data={"key": "packed_bytes", "down": False, "page": 0, "front": True}),
        dcc.Download(id="csv"),
    ]


def register(app: Dash, live: Live) -> None:
    """Connect the table to what is read."""
    app.clientside_callback(
        _ARRANGE,
        Output("order", "data"),
        Input("only", "n_clicks"),
        Input("pressed", "data"),
        State("order", "data"),
        prevent_initial_call=True,
    )
    _connect_table(app, live)
    _connect_download(app, live)
    app.clientside_callback(
        ClientsideFunction("rayduce", "both"),
        Output("both", "href"),
        Output("both", "children"),
        Output("both", "className"),
        Input("ticked", "data"),
    )


def _connect_table(app: Dash, live: Live) -> None:
    @app.callback(
        Output("listing", "data"),
        Output("listed", "children"),
        Output("only", "aria-pressed"),
        Input(VERSION, "data"),
        Input(SWEEP, "value"),
        Input("chosen", "data"),
        Input("order", "data"),
        Input("overlay", "value"),
        *ship.FIELDS,
    )
    def tabulate(
        _: Count | None,
        name: Text | None,
        chosen: list[Text] | None,
        order: Order,
        overlay: list[Text] | None,
        most: ship.Number | None,
        drop: ship.Number | None,
        latency: ship.Number | None,
        ram: ship.Number | None,
    ) -> Any:
        sweep = live.sweep(name)
        if sweep is None:
            return {"note": "Nothing to list yet."}, "Trials", "false"
        try:
            trials, what = _listed(live, sweep, chosen, order, overlay)
            key = sweep.quality.validation if order["key"] == LOST else order["key"]
            limits = ship.values_of(most, drop, latency, ram)
            shipped = ship.choice_of(sweep, live.trials(sweep), limits)[0].student
            marks = _Marks("" if shipped is None else str(shipped["run_id"]), live.alike(sweep))
            listing = _listing(arranged(trials, key, order["down"]), sweep, order, marks)
        except StoreError as error:
            return {"note": told(error)}, "Trials", "false"
        return listing, what, str(bool(order["front"])).lower()

    # What is drawn are a few hundred cells: as many components of Dash's would take most of a second.
    app.clientside_callback(
        ClientsideFunction("rayduce", "table"), Output("drawn", "data"), Input("listing", "data")
    )


def _connect_download(app: Dash, live: Live) -> None:
    @app.callback(
        Output("csv", "data"),
        Input("save", "n_clicks"),
        State(SWEEP, "value"),
        State("chosen", "data"),
        State("order", "data"),
        State("overlay", "value"),
        prevent_initial_call=True,
    )
    def save(
        clicks: Count | None,
        name: Text | None,
        chosen: list[Text] | None,
        order: Order,
        overlay: list[Text] | None,
    ) -> Any:
        sweep = live.sweep(name)
        if not clicks or sweep is None:
            return no_update
        try:
            trials, _ = _listed(live, sweep, chosen, order, overlay)
        except StoreError:
            return no_update
        content = to_csv(arranged(trials, order["key"], order["down"]))
        return {"content": content, "filename": f"{sweep.name}.csv", "type": "text/csv"}


def overlaid(live: Live, sweep: Sweep, names: list[str] | None) -> list[Sweep]:
    """The sweeps that are drawn over ``sweep``."""
    return [other for other in live.sweeps if other.name in (names or ()) and other.name != sweep.name]


def _listed(
    live: Live, sweep: Sweep, chosen: list[str] | None, order: Order, overlay: list[str] | None
) -> tuple[pd.DataFrame, str]:
    """The trials that the table lists, and what they are."""
    shown = [live.trials(each) for each in (sweep, *overlaid(live, sweep, overlay))]
    trials = shown[0]
    if len(shown) > 1:
        names = (sweep.name, *(each.name for each in overlaid(live, sweep, overlay)))
        named = (each.assign(sweep=name) for each, name in zip(shown, names, strict=True))
        trials = pd.concat(named, ignore_index=True)
    if chosen:
        selected = trials[trials["run_id"].isin(chosen).to_numpy(dtype=bool)]
        return selected, f"Selected: {count(len(selected), 'trial')}"
    if order["front"]:
        front = trials[trials["front"]]
        return front, f"On the sweep's front: {count(len(front), 'trial')}"
    ended = trials[trials["state"].isin(SHOWN_STATES).to_numpy(dtype=bool)]
    return ended, f"All that ended: {count(len(ended), 'trial')}"


class _Marks(NamedTuple):
    """Why rows are marked: the student to ship, and those that cannot be told from the next smaller one."""

    shipped: str
    alike: frozenset[str]


def _listing(trials: pd.DataFrame, sweep: Sweep, order: Order, marks: _Marks) -> dict[str, Any]:
    """What assets/table.js draws: one page of the ``trials``, every cell as text."""
    rows, page, pages = page_of(trials, order["page"])
    if rows.empty:
        return {"note": "No trial is listed: none has ended yet, or none is selected."}
    columns = columns_of(sweep.quality, sweep.asked)
    heads = [{"key": c.key, "title": c.title, "style": c.style} for c in columns]
    sure = has_intervals(sweep.teacher, sweep.quality, VALIDATION)
    place = 1 + next(i for i, column in enumerate(columns) if column.key == sweep.quality.validation)
    if sure:
        title = f"Lost on validation, {sweep.quality.step()} ({SURE})"
        heads.insert(place, {"key": LOST, "title": title, "style": ""})
    several = "sweep" in rows
    listed = []
    for row in rows.to_dict("records"):
        cells = [column.show(row[column.key]) for column in columns]
        run_id = str(row["run_id"])
        if run_id in marks.alike:
            cells[place - 1] += " \N{ALMOST EQUAL TO}"
        if sure:
            found = on_split(row, sweep.teacher, sweep.quality, VALIDATION)
            cells.insert(place, "" if found is None or row["state"] != "finished" else found.lost_cell())
        if several:
            cells.insert(1, str(row["sweep"]))
        style = "shipped" if run_id == marks.shipped else ""
        listed.append({"href": f"/trial/{run_id}", "cells": cells, "style": style, "run": run_id})
    if several:
        heads.insert(1, {"key": "sweep", "title": "Sweep", "style": "text"})
    note = "\N{ALMOST EQUAL TO}: cannot be told from the next smaller one (McNemar's test at 5 %)."
    shown = {row["run"] for row in listed}
    return {
        "columns": heads,
        "rows": listed,
        "order": order,
        "page": page,
        "pages": pages,
        "foot": note if shown & marks.alike else "",
        "place": f"{page * ROWS + 1:,} to {page * ROWS + len(rows):,} of {len(trials):,}",
    }
