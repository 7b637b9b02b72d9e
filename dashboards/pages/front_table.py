"""The table under the front: which trials it lists, in which order, and as CSV."""

from __future__ import annotations

from typing import Any

import pandas as pd
from dash import ClientsideFunction, Dash, Input, Output, State, dcc, html, no_update

from dashboards.callbacks import Count, Order, Text
from dashboards.figures.front_view import SHOWN_STATES
from dashboards.live import Live
from dashboards.pages.common import SWEEP, VERSION
from dashboards.table import ROWS, arranged, columns_of, page_of, to_csv
from dashboards.text import told
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
    )
    def tabulate(
        _: Count | None,
        name: Text | None,
        chosen: list[Text] | None,
        order: Order,
        overlay: list[Text] | None,
    ) -> Any:
        sweep = live.sweep(name)
        if sweep is None:
            return {"note": "Nothing to list yet."}, "Trials", "false"
        try:
            trials, what = _listed(live, sweep, chosen, order, overlay)
            listing = _listing(arranged(trials, order["key"], order["down"]), sweep, order)
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
    trials = pd.concat(shown, ignore_index=True) if len(shown) > 1 else shown[0]
    if chosen:
        selected = trials[trials["run_id"].isin(chosen).to_numpy(dtype=bool)]
        return selected, f"Selected: {count(len(selected), 'trial')}"
    if order["front"]:
        front = trials[trials["front"]]
        return front, f"On the sweep's front: {count(len(front), 'trial')}"
    ended = trials[trials["state"].isin(SHOWN_STATES).to_numpy(dtype=bool)]
    return ended, f"All that ended: {count(len(ended), 'trial')}"


def _listing(trials: pd.DataFrame, sweep: Sweep, order: Order) -> dict[str, Any]:
    """What assets/table.js draws: one page of the ``trials``, every cell as text."""
    rows, page, pages = page_of(trials, order["page"])
    if rows.empty:
        return {"note": "No trial to list: none has finished, or none is selected."}
    columns = columns_of(sweep.quality, sweep.asked)
    return {
        "columns": [{"key": c.key, "title": c.title, "style": c.style} for c in columns],
        "rows": [
            {"href": f"/trial/{row['run_id']}", "cells": [column.show(row[column.key]) for column in columns]}
            for row in rows.to_dict("records")
        ],
        "order": order,
        "page": page,
        "pages": pages,
        "place": f"{page * ROWS + 1:,} to {page * ROWS + len(rows):,} of {len(trials):,}",
    }
