"""What do I ship? Limits, and the one student that keeps to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import pandas as pd
from dash import Dash, Input, Output, State, dcc, html
from pydantic import Field

from dashboards.address import Asked, asked, number_in
from dashboards.answer import answer_of, no_answer
from dashboards.callbacks import Count, Text
from dashboards.live import Live
from dashboards.pages.common import SWEEP, URL, VERSION, aria, command
from dashboards.text import told
from dashboards.where import where
from search.objectives.budget import Budget
from search.objectives.choosing import Choice, choose, first_budget
from search.objectives.costs import PACKED
from search.store.store import StoreError
from search.store.sweep import Sweep

Number = Annotated[float, Field(ge=0, le=1e15)]
"""What a visitor typed into a field for numbers."""


class Limit(NamedTuple):
    """One field: its id, the name that addresses have for it, what it says, its metric and its unit."""

    id: str
    name: str
    label: str
    metric: str
    factor: float


SIZE, DROP, LATENCY, RAM = LIMITS = (
    Limit("ship-bytes", "max-bytes", "Largest file, kB", PACKED, 1000.0),
    Limit("ship-drop", "max-drop", "Most lost", "", 1.0),
    Limit("ship-latency", "max-latency", "Slowest, ms", "latency_ms", 1.0),
    Limit("ship-ram", "max-ram", "Most memory, kB", "ram_bytes", 1000.0),
)
FIELDS = [Input(limit.id, "value") for limit in LIMITS]
Values = Mapping[str, float | None]
"""Id of a field -> what stands in it."""


def panel(sweep: Sweep | None, values: Asked) -> html.Section:
    """Where it stands, with the limits that an address asks for, or the sweep's own."""
    begun = begin(sweep, values)
    return html.Section(
        className="panel ship",
        children=[
            html.H2("What do I ship?"),
            html.Div([_field(limit, begun[limit.id], sweep) for limit in LIMITS], className="limits"),
            html.Div(id="ship", role="status", **aria(live="polite")),
        ],
    )


def _field(limit: Limit, value: float | None, sweep: Sweep | None) -> html.Div:
    label = limit.label
    if limit is DROP and sweep is not None:
        label = f"Most lost, {_step(sweep)}"
    return html.Div(
        [
            html.Label(label, htmlFor=limit.id),
            dcc.Input(
                id=limit.id, type="number", min=0, step="any", value=value, debounce=0.4, placeholder="any"
            ),
        ],
        className="limit",
    )


def _step(sweep: Sweep) -> str:
    try:
        return sweep.quality.step()
    except StoreError:
        return "points"


def begin(sweep: Sweep | None, values: Asked) -> dict[str, float | None]:
    """What the fields hold at first: what the address asks for, or the sweep's own limits."""
    wanted = {limit.id: number_in(values, limit.name) for limit in LIMITS}
    if sweep is None or any(value is not None for value in wanted.values()):
        return wanted
    try:
        budget = first_budget(sweep.budget)
        limits = dict(budget.limits)
        found = {each.id: limits.get(_metric(each, sweep)) for each in LIMITS if each is not DROP}
    except StoreError:
        return wanted
    scaled = {each.id: each.factor for each in LIMITS}
    shown = {name: None if value is None else value / scaled[name] for name, value in found.items()}
    own = {**shown, DROP.id: budget.max_drop}
    return {limit.id: own[limit.id] for limit in LIMITS}


def _metric(limit: Limit, sweep: Sweep) -> str:
    """The metric that a field limits: the size is the one that the sweep searches by."""
    return sweep.size if limit is SIZE else limit.metric


def budget_of(sweep: Sweep, values: Values) -> Budget:
    """The limits in the fields, and those of the sweep that have no field."""
    fields = {_metric(limit, sweep): limit for limit in LIMITS if limit is not DROP}
    limits = {name: value for name, value in sweep.budget.limits.items() if name not in fields}
    for name, limit in fields.items():
        if value := values.get(limit.id):
            limits[name] = limit.factor * value
    return Budget(limits, values.get(DROP.id))


def choice_of(sweep: Sweep, trials: pd.DataFrame, values: Values) -> tuple[Choice, Budget]:
    """The student to ship of a sweep, and within which limits."""
    budget = budget_of(sweep, values)
    return choose(trials, sweep.quality, sweep.teacher, budget, sweep.size), budget


def register(app: Dash, live: Live) -> None:
    """Connect the limits to what is read."""

    @app.callback(
        *[Output(limit.id, "value") for limit in LIMITS],
        Input(SWEEP, "value"),
        State(URL, "search"),
        prevent_initial_call=True,
    )
    def begin_again(name: Text | None, search: Text | None) -> Any:
        values = asked(search)
        sweep = live.sweep(name)
        mine = sweep is not None and values.get("sweep", sweep.name) == sweep.name
        return tuple(begin(sweep, values if mine else {}).values())

    @app.callback(Output("ship", "children"), Input(VERSION, "data"), Input(SWEEP, "value"), *FIELDS)
    def decide(
        _: Count | None,
        name: Text | None,
        most: Number | None,
        drop: Number | None,
        latency: Number | None,
        ram: Number | None,
    ) -> Any:
        sweep = live.sweep(name)
        if sweep is None:
            return []
        values = values_of(most, drop, latency, ram)
        try:
            choice, budget = choice_of(sweep, live.trials(sweep), values)
        except StoreError as error:
            return html.P(told(error), className="problem")
        return _told(live, sweep, choice, budget)


def values_of(
    most: float | None, drop: float | None, latency: float | None, ram: float | None
) -> dict[str, float | None]:
    """The fields' values by their ids."""
    return dict(zip((limit.id for limit in LIMITS), (most, drop, latency, ram), strict=True))


def _told(live: Live, sweep: Sweep, choice: Choice, budget: Budget) -> list[Any]:
    answer = answer_of(sweep, choice, budget, where(live.store))
    if answer is None:
        return [html.P(no_answer(sweep, choice, budget), className="none")]
    return [
        html.Div(
            [
                html.Span(answer.size, className="value"),
                dcc.Link(answer.name, href=f"/trial/{answer.run_id}", className="name"),
            ],
            className="answer",
        ),
        html.Dl(
            [part for name, text in answer.facts for part in (html.Dt(name), html.Dd(text))],
            className="facts",
        ),
        html.P(answer.why, className="caption"),
        html.Div(
            [
                html.A("Download", href=f"/student/{answer.run_id}.rdz", className="button", download=""),
                command(answer.command),
            ],
            className="take",
        ),
    ]
