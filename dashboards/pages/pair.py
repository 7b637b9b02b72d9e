"""Two students side by side: numbers with their differences, recipes, curves, bytes, and the mistakes."""

from __future__ import annotations

import itertools
import re
import textwrap
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
    has_intervals,
    samples_of,
)
from search.objectives.on_split import SURE, no_interval, on_split
from search.objectives.resampled import intervals
from search.store.answers import kept_of
from search.store.store import StoreError
from search.store.sweep import Sweep
from trainables.metrics import Quality
from trainables.predictions import Answers

PATH, TITLE = "/pair", "Two students"
LONGEST_SETTING = 300
"""Letters of a setting of a recipe; the words of a longer one are left out at its end."""
_RUN = re.compile(r"[0-9a-f]{32}")
_Apart = dict[str, Interval | None]
"""By split where the difference of two qualities lies, if that is known."""


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
                return html.Section(note(_missing(values)), className="panel"), []
            apart = {split: _difference(live, left, right, split) for split in ("validation", "test")}
            return (
                _beside(live, left, right, apart, theme_of(theme)),
                _mistakes(live, left, right, apart, theme_of(theme)),
            )
        except StoreError as error:
            return html.Div(told(error), className="problem"), []


def _missing(values: Asked) -> str:
    """Why there are no two students at an address."""
    tick = "Tick two trials in the table of the front, and they stand here side by side."
    asked_for = values.get("left") or values.get("right")
    return f"The address names no two trials of this store. {tick}" if asked_for else tick


def _side(live: Live, run_id: str) -> _Side | None:
    found = live.find(run_id) if _RUN.fullmatch(run_id) else None
    return None if found is None else _Side(found[0], found[1].iloc[found[2]].to_dict())


def _beside(live: Live, left: _Side, right: _Side, apart: _Apart, theme: Theme) -> list[Any]:
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
        panel("What they measured", _numbers(left, right, apart), caption=_sure(left)),
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


def _numbers(left: _Side, right: _Side, apart: _Apart) -> Any:
    rows: list[list[Any]] = []
    for prefix in SPLITS:
        found = [on_split(s.row, s.sweep.teacher, s.sweep.quality, prefix) for s in (left, right)]
        if any(each is not None for each in found):
            split = "validation" if prefix else "test"
            label = f"{split.capitalize()} {left.sweep.quality.label}"
            values = ["" if e is None else e.value_text() for e in found]
            rows.append([label, *values, _apart(found, apart[split])])
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


def _sure(side: _Side) -> str:
    """What stands in brackets, or why nothing does."""
    quality, teacher = side.sweep.quality, side.sweep.teacher
    if any(has_intervals(teacher, quality, split) for split in SPLITS):
        return f"In brackets: {SURE} intervals."
    return f"{no_interval(quality)}."


def _apart(found: list[Any], between: Interval | None) -> str:
    """The difference of two qualities in points, with its interval where that is known."""
    if any(each is None for each in found):
        return ""
    quality = found[0].quality
    text = f"{quality.difference(found[1].value, found[0].value):+.3g} {quality.step()}"
    if between is not None:
        text += f" ({_ends(between, quality)})"
    return text.replace("-", "\N{MINUS SIGN}")


def _ends(between: Interval, quality: Quality) -> str:
    return " to ".join(quality.number(quality.points(end)) for end in (between.low, between.high))


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
    """The settings of two recipes that differ, by the places that they have there.

    Of two lists, such as the phases of trainings, what one has more is beside nothing.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        keys = dict.fromkeys((*one, *other))
        found = (_different(one.get(k), other.get(k), f"{name}.{k}" if name else str(k)) for k in keys)
        return [row for rows in found for row in rows]
    if isinstance(one, list) and isinstance(other, list) and (len(one) == len(other) or _parts(one, other)):
        pairs = enumerate(itertools.zip_longest(one, other))
        return [row for place, (a, b) in pairs for row in _different(a, b, f"{name}.{place}")]
    if one == other:
        return []
    return [(name, _short(one), _short(other))]


def _parts(*lists: list[Any]) -> bool:
    """Whether lists hold parts of recipes, such as phases, that have settings of their own."""
    plain = (each and all(isinstance(p, dict) and p.get("type") != "Recipe" for p in each) for each in lists)
    return all(plain)


def _short(value: Any) -> str:
    if value is None:
        return "\N{EN DASH}"
    if isinstance(value, dict) and value.get("type") == "Recipe":  # of a student that was trained along
        return _cut(str(value.get("method")))
    if isinstance(value, dict):
        inner = ", ".join(f"{k} {_short(v)}" for k, v in value.items() if k != "type")
        return _cut(f"{value.get('type', '')} {inner}".strip())
    if isinstance(value, list):
        return _cut(", ".join(map(_short, value)) or "none")
    return _cut(str(value))


def _cut(text: str) -> str:
    """``text`` whole, or its first words and a mark that there were more."""
    return textwrap.shorten(text, LONGEST_SETTING, placeholder=" \N{HORIZONTAL ELLIPSIS}")


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


def _mistakes(live: Live, left: _Side, right: _Side, apart: _Apart, theme: Theme) -> Any:
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
        html.P(_verdict(pair, apart[said.split], left, right)),
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


def _verdict(pair: Paired, between: Interval | None, left: _Side, right: _Side) -> str:
    """What McNemar's test says of two students, in a sentence or two."""
    counts = f"{pair.lost} samples only {left.name} gets right, {pair.gained} only {right.name}"
    if not pair.told_apart:
        verdict = "They cannot be told apart"
    else:
        verdict = f"{left.name if pair.lost > pair.gained else right.name} is better"
    test = f"McNemar's test, p = {pair.chance():.2g}; told apart below {ALPHA:g}"
    text = f"{verdict} on these {pair.samples:,} samples ({test}). {counts}"
    if between is None:
        return f"{text}."
    quality = left.sweep.quality
    apart = f"{_ends(between, quality)} {quality.step()}".replace("-", "\N{MINUS SIGN}")
    return (
        f"{text}: the difference of {right.name} to {left.name} in {quality.label} is {apart} ({SURE} sure)."
    )


def _difference(live: Live, left: _Side, right: _Side, split: str) -> Interval | None:
    """Where the right one's quality less the left one's lies; None where what decides it is not kept."""
    sweep, quality = left.sweep, left.sweep.quality
    if right.sweep.run_id != sweep.run_id:
        return None
    try:
        runs = (sweep.run_id, left.run_id, right.run_id)
        teacher, one, other = (kept_of(live.store, run).get(split, Answers()) for run in runs)
    except StoreError:  # nothing is kept, or it is damaged, which the panel of the mistakes says
        return None
    if samples_of(sweep.teacher, quality, VALIDATION if split == "validation" else "") is not None:
        return _difference_of_shares(teacher.true, one.said, other.said)
    drawn = intervals(quality, other._replace(true=teacher.true), one._replace(true=teacher.true))
    if not drawn:
        return None
    # What the right one loses to the left one, as a difference of the two.
    ends = sorted(-quality.gain(drawn[end]) for end in (LOST_LOW, LOST_HIGH))
    return Interval(*ends)


def _difference_of_shares(true: Any, one: Any, other: Any) -> Interval | None:
    if true is None or one is None or other is None or not true.shape == one.shape == other.shape:
        return None
    return Paired.of(one == true, other == true).interval()


def _agreement(said: Said, left: _Side, right: _Side) -> str:
    one, other = said.students
    parts = [
        f"{side.name} says what the teacher says of {share((each == said.teacher).mean())}"
        for each, side in ((one, left), (other, right))
    ]
    agree = share((one == other).mean())
    return f"On {said.split}: {'; '.join(parts)}; they agree with one another on {agree}."
