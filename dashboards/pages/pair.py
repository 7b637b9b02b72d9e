"""Two students side by side: numbers with their differences, recipes, curves, bytes, and the mistakes."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from dash import Dash, Input, Output, State, dcc, html

from dashboards.address import Asked, asked
from dashboards.callbacks import Count, Text
from dashboards.figures.pair import confusion_figure, curves_of_two
from dashboards.live import Live
from dashboards.pages import mistakes
from dashboards.pages.common import THEME, URL, VERSION, graph, note, panel, plain_table
from dashboards.pages.mistakes import Said, gallery, said_by
from dashboards.style import PLOT_CONFIG
from dashboards.summary import further_facts
from dashboards.text import (
    duration,
    fit_trials,
    method_label,
    milliseconds,
    missing,
    number,
    share,
    size,
    told,
)
from dashboards.theme import Theme, theme_of
from search.objectives.certainty import (
    ALPHA,
    LOST_HIGH,
    LOST_LOW,
    SPLITS,
    VALIDATION,
    Interval,
    Paired,
    samples_of,
)
from search.objectives.on_split import SURE, on_split
from search.objectives.resampled import intervals
from search.store.store import StoreError
from search.store.sweep import Sweep

PATH, TITLE = "/pair", "Two students"
_RUN = re.compile(r"[0-9a-f]{32}")


class _Side(NamedTuple):
    """One of the two."""

    sweep: Sweep
    row: dict[Any, Any]

    @property
    def run_id(self) -> str:
        return str(self.row["run_id"])

    @property
    def name(self) -> str:
        return f"{self.row['name']} ({self.row['trial_id']})"


def layout(live: Live, sweep: Sweep | None, path: str, wanted: Asked) -> list[Any]:
    """The view before its callbacks have run; the address says which two."""
    return [html.Div(id="pair"), html.Div(id="mistakes"), gallery(pair=True)]


def register(app: Dash, live: Live) -> None:
    """Connect the view to what is read, and the samples that its students get wrong."""
    mistakes.register(app, live)

    @app.callback(
        Output("pair", "children"),
        Output("mistakes", "children"),
        Input(VERSION, "data"),
        Input(URL, "search"),
        Input(THEME, "data"),
        State("pair", "children"),
    )
    def tell(_: Count | None, search: Text | None, theme: Text | None, known: Any | None) -> Any:
        values = asked(search)
        try:
            sides = [_side(live, values.get(name, "")) for name in ("left", "right")]
            left, right = sides
            if left is None or right is None:
                text = "Tick two trials in the table of the front, and they stand here side by side."
                return html.Section(note(text), className="panel"), []
            return _beside(live, left, right, theme_of(theme)), _mistakes(live, left, right, theme_of(theme))
        except StoreError as error:
            return html.Div(told(error), className="problem"), []


def _side(live: Live, run_id: str) -> _Side | None:
    found = live.find(run_id) if _RUN.fullmatch(run_id) else None
    return None if found is None else _Side(found[0], found[1].iloc[found[2]].to_dict())


def _beside(live: Live, left: _Side, right: _Side, theme: Theme) -> list[Any]:
    sides = (left, right)
    head = html.Div(
        [
            html.H1("Two students"),
            html.P(
                [
                    part
                    for side in sides
                    for part in (
                        dcc.Link(side.name, href=f"/trial/{side.run_id}"),
                        f" of {side.sweep.name}. ",
                    )
                ],
                className="facts",
            ),
        ],
        className="masthead",
    )
    curves = [fit_trials(live.store.history(side.run_id)) for side in sides]
    return [
        head,
        panel("What they measured", _numbers(left, right), caption=f"In brackets: {SURE} intervals."),
        html.Div(
            [
                panel("How their recipes differ", _recipes(live, left, right)),
                panel(
                    "While they trained",
                    graph(
                        "two-curves",
                        PLOT_CONFIG,
                        curves_of_two(curves, [side.name for side in sides], left.sweep.quality, theme),
                        300,
                    ),
                ),
            ],
            className="halves",
        ),
        panel("Where their bytes are", _tensors(live, left, right)),
    ]


def _numbers(left: _Side, right: _Side) -> Any:
    rows: list[list[Any]] = []
    for prefix in SPLITS:
        found = [on_split(s.row, s.sweep.teacher, s.sweep.quality, prefix) for s in (left, right)]
        if any(each is not None for each in found):
            split = "validation" if prefix else "test"
            label = f"{split.capitalize()} {left.sweep.quality.label}"
            rows.append([label, *("" if e is None else e.value_text() for e in found), _apart(found)])
            lost = ["" if e is None else e.lost_text() for e in found]
            rows.append([f"Lost to the teacher on {split}", *lost, ""])
    for label, key, show in (
        ("Packed", "packed_bytes", size),
        ("In ONNX", "onnx_bytes", size),
        ("Activation memory", "ram_bytes", size),
        ("Latency, ms", "latency_ms", milliseconds),
        ("Multiply-adds", "macs", number),
        ("Parameters", "parameters", number),
        ("Bits per weight", "mean_bits", number),
        ("Zeros", "sparsity", share),
        ("Took", "seconds", duration),
    ):
        values = [side.row[key] for side in (left, right)]
        rows.append([label, *map(show, values), _ratio(*values)])
    further = [dict(further_facts(side.sweep, side.row)) for side in (left, right)]
    rows += [[label, further[0].get(label, ""), further[1].get(label, ""), ""] for label in further[0]]
    return plain_table(["Measured", left.name, right.name, "Right against left"], rows)


def _apart(found: list[Any]) -> str:
    """The difference of two qualities in points; what is sure of it is told with the mistakes."""
    if any(each is None for each in found):
        return ""
    more = found[0].quality.difference(found[1].value, found[0].value)
    return f"{more:+.3g} {found[0].quality.step()}".replace("-", "\N{MINUS SIGN}")


def _ratio(left: Any, right: Any) -> str:
    if missing(left) or missing(right) or not float(left):
        return ""
    text = f"{100 * (float(right) / float(left) - 1):+.0f} %".replace("-", "\N{MINUS SIGN}")
    return "=" if left == right else text


def _recipes(live: Live, left: _Side, right: _Side) -> Any:
    rows = [
        [name, one, other]
        for name, one, other in _different(live.store.recipe(left.run_id), live.store.recipe(right.run_id))
    ]
    if not rows:
        return note("They do not.")
    methods = [method_label(side.row["method"]) for side in (left, right)]
    return plain_table(["Setting", *methods], rows[:80], text_columns=3)


def _different(one: Any, other: Any, name: str = "") -> list[tuple[str, str, str]]:
    """The settings of two recipes that differ, by the places that they have there."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = dict.fromkeys((*one, *other))
        found = (_different(one.get(k), other.get(k), f"{name}.{k}" if name else str(k)) for k in keys)
        return [row for rows in found for row in rows]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [row for place, (a, b) in pairs for row in _different(a, b, f"{name}.{place}")]
    if one == other:
        return []
    return [(name, _short(one), _short(other))]


def _short(value: Any) -> str:
    if value is None:
        return "\N{EN DASH}"
    if isinstance(value, dict):
        inner = ", ".join(f"{k} {_short(v)}" for k, v in value.items() if k != "type")
        return f"{value.get('type', '')} {inner}".strip()[:300]
    return str(value)[:300]


def _tensors(live: Live, left: _Side, right: _Side) -> Any:
    try:
        frames = [live.store.tensors(side.run_id) for side in (left, right)]
    except StoreError as error:
        return note(told(error))
    known = [{str(row["name"]): row for row in frame.to_dict("records")} for frame in frames]
    rows = [
        [
            name,
            *(_bytes(each.get(name)) for each in known),
            _ratio(*(_length(each.get(name)) for each in known)),
        ]
        for name in dict.fromkeys((*known[0], *known[1]))
    ]
    return plain_table(["Tensor", left.name, right.name, "Right against left"], rows)


def _length(row: Any) -> Any:
    return None if row is None else row["bytes"]


def _bytes(row: Any) -> str:
    if row is None:
        return "\N{EN DASH}"
    bits = "" if missing(row["bits"]) else f", {row['bits']:g} bit"
    return f"{size(row['bytes'])}{bits} ({row['codec']})"


def _mistakes(live: Live, left: _Side, right: _Side, theme: Theme) -> Any:
    if left.sweep.run_id != right.sweep.run_id:
        return panel("Their mistakes", note("They are of two sweeps, whose samples may be others."))
    try:
        said = said_by(live, left.sweep, [left.run_id, right.run_id])
    except StoreError as error:
        return panel("Their mistakes", note(f"No answers are kept of these: {told(error)}"))
    try:
        samples = live.samples(left.sweep)
    except StoreError:  # the samples' own panel says so
        samples = None
    classes = () if samples is None else samples.classes
    pair = Paired.of(*(each == said.true for each in said.students))
    body = [
        html.P(_verdict(pair, said, left, right)),
        html.P(_agreement(said, left, right), className="caption"),
        html.Div(
            [
                graph(
                    f"confused-{place}",
                    PLOT_CONFIG,
                    confusion_figure(said.true, each, side.name, theme, classes),
                    340,
                )
                for place, (each, side) in enumerate(zip(said.students, (left, right), strict=True))
            ],
            className="halves",
        ),
    ]
    return panel(f"Their mistakes on the {said.split} split", *body)


def _verdict(pair: Paired, said: Said, left: _Side, right: _Side) -> str:
    """What McNemar's test says of two students, in a sentence or two."""
    counts = f"{pair.lost} samples only {left.name} gets right, {pair.gained} only {right.name}"
    if not pair.told_apart:
        verdict = "They cannot be told apart"
    else:
        verdict = f"{left.name if pair.lost > pair.gained else right.name} is better"
    test = f"McNemar's test, p = {pair.chance():.2g}; told apart below {ALPHA:g}"
    between = _difference(pair, said, left.sweep)
    text = f"{verdict} on these {pair.samples:,} samples ({test}). {counts}"
    if between is None:
        return f"{text}."
    quality = left.sweep.quality
    low, high = (quality.number(quality.points(end)) for end in (between.low, between.high))
    apart = f"{low} to {high} {quality.step()}".replace("-", "\N{MINUS SIGN}")
    return (
        f"{text}: the difference of {right.name} to {left.name} in {quality.label} is {apart} ({SURE} sure)."
    )


def _difference(pair: Paired, said: Said, sweep: Sweep) -> Interval | None:
    """The interval of how much better the right one is; None where answers do not decide the quality."""
    quality, prefix = sweep.quality, VALIDATION if said.split == "validation" else ""
    if samples_of(sweep.teacher, quality, prefix) is not None:
        return pair.interval()
    drawn = intervals(quality, said.true, said.students[1], said.students[0])
    # What the right one loses to the left one, the other way round.
    return Interval(-drawn[LOST_HIGH], -drawn[LOST_LOW]) if drawn else None


def _agreement(said: Said, left: _Side, right: _Side) -> str:
    one, other = said.students
    parts = [
        f"{side.name} says what the teacher says of {share((each == said.teacher).mean())}"
        for each, side in ((one, left), (other, right))
    ]
    agree = share((one == other).mean())
    return f"On {said.split}: {'; '.join(parts)}; they agree with one another on {agree}."
