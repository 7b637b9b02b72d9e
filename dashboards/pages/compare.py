"""Two sweeps, or two methods, after equally many trials or after all of them."""

from __future__ import annotations

from typing import Any

from dash import Dash, Input, Output, State, dcc, html, no_update

from dashboards.address import Asked
from dashboards.callbacks import Count, Text
from dashboards.figures.compare import (
    Comparison,
    Side,
    compare,
    ended_trials,
    fronts_figure,
    growth_figure,
)
from dashboards.figures.matched import CLOSE, matched
from dashboards.figures.parts import empty
from dashboards.live import Live
from dashboards.pages.common import SWEEP, THEME, VERSION, choice, graph, note, panel, plain_table
from dashboards.text import method_label, missing, size
from dashboards.theme import Theme, theme_of
from search.objectives.on_split import MINUS, SURE
from search.store.store import StoreError
from search.store.sweep import Sweep
from search.units import count, show_number
from trainables.metrics import Quality

PATH, TITLE = "/compare", "Compare"
_SWEEP, _METHOD = "sweep ", "method "
HOW_MANY = {"equal": "as many of each", "all": "all that ended"}
MOST_PAIRS = 40


def layout(live: Live, sweep: Sweep | None, path: str, wanted: Asked) -> list[Any]:
    """The view of ``sweep`` before its callbacks have run."""
    return [
        html.Section(
            className="panel",
            children=[
                html.Div(
                    [
                        choice("left-side", "This", [], None, width=330, placeholder="a sweep or a method"),
                        choice(
                            "right-side", "Against", [], None, width=330, placeholder="a sweep or a method"
                        ),
                        choice("how-many", "Trials", [*HOW_MANY.items()], "equal", width=210),
                    ],
                    className="controls",
                ),
                html.P(id="budget", className="caption"),
                graph("fronts", height=420),
            ],
        ),
        panel("Hypervolume", html.P(id="volumes", className="caption"), graph("growths", height=340)),
        html.Div(id="at"),
    ]


def register(app: Dash, live: Live) -> None:
    """Connect the view to what is read."""
    _connect_choices(app, live)
    _connect_figures(app, live)


def _connect_choices(app: Dash, live: Live) -> None:
    @app.callback(
        Output("left-side", "options"),
        Output("right-side", "options"),
        Output("left-side", "value"),
        Output("right-side", "value"),
        Input(VERSION, "data"),
        Input(SWEEP, "value"),
        State("left-side", "value"),
        State("right-side", "value"),
    )
    def offer(_: Count | None, name: Text | None, left: Text | None, right: Text | None) -> Any:
        sweep = live.sweep(name)
        if sweep is None:
            return [], [], None, None
        try:
            options = _options(live, sweep)
        except StoreError:
            return [], [], None, None
        values = [option["value"] for option in options]
        methods = [value for value in values if value.startswith(_METHOD)]
        fallback = methods if len(methods) > 1 else values
        left = left if left in values else next(iter(fallback), None)
        right = right if right in values else next((value for value in fallback if value != left), None)
        return options, options, left, right


def _connect_figures(app: Dash, live: Live) -> None:
    @app.callback(
        Output("budget", "children"),
        Output("fronts", "figure"),
        Output("growths", "figure"),
        Output("at", "children"),
        Output("volumes", "children"),
        Input(VERSION, "data"),
        Input(SWEEP, "value"),
        Input("left-side", "value"),
        Input("right-side", "value"),
        Input("how-many", "value"),
        Input(THEME, "data"),
    )
    def draw(
        _: Count | None,
        name: Text | None,
        left: Text | None,
        right: Text | None,
        many: Text | None,
        theme: Text | None,
    ) -> Any:
        sweep = live.sweep(name)
        try:
            sides = [] if sweep is None else _sides(live, sweep, left, right)
        except StoreError:
            return (no_update,) * 5
        return _compared(sides if left != right else [], theme_of(theme), every=many == "all")


def _compared(sides: list[Side], theme: Theme, *, every: bool) -> tuple[Any, ...]:
    """What the view shows: how many trials are compared, fronts, growths, tables and last hypervolumes."""
    if len(sides) < 2:
        nothing = empty(theme, 340, "Choose two sweeps of one metric, or two methods of the sweep")
        return "", nothing, nothing, [], ""
    found = compare(sides, every=every)
    if not found.budget:
        bare = " and ".join(side.label for side in sides if ended_trials(side.trials).empty)
        nothing = empty(theme, 340, f"Nothing to compare yet: no trial of {bare} has ended")
        return "", nothing, nothing, [], ""
    volumes = found.growth.groupby("side", sort=False)["hypervolume"].last()
    ends = ", ".join(f"{label} {volumes.get(label, 0.0):.3f}" for label in found.labels)
    return (
        _which(found, sides, every=every),
        fronts_figure(found, theme),
        growth_figure(found, theme),
        [_pairs(found), _tables(found)],
        f"At the end: {ends}.",
    )


def _which(found: Comparison, sides: list[Side], *, every: bool) -> str:
    """Which trials are compared, and within which limits."""
    if every:
        each = " and ".join(
            f"{number:,} of {label}" for label, number in zip(found.labels, found.counts, strict=True)
        )
        told = f"All trials that ended: {each}. Who had more had more to choose from."
    else:
        first = "trial" if found.budget == 1 else count(found.budget, "trial")
        told = f"Of each the first {first} that ended: neither had more to choose from."
    limits = [f"{side.label}: {text}" for side in sides if (text := side.sweep.budget.text(found.quality))]
    # Two methods of one sweep have the same ones.
    same = len({side.sweep.run_id for side in sides}) == 1 and limits
    limits = [sides[0].sweep.budget.text(found.quality)] if same else limits
    return f"{told} Only students within the limits count ({'; '.join(limits)})." if limits else told


def _pairs(found: Comparison) -> Any:
    """Students of one shape that both trained."""
    left, right = found.labels[:2]
    title = "The same shape, trained by both"
    pairs = matched(found.trials[0], found.trials[1], found.quality, found.size.key)
    if pairs.pairs.empty:
        return panel(
            title, note("No finished student of one has the architecture, depth and width of another's.")
        )
    quality, gains = found.quality, pairs.pairs["gain"]
    better, worse = int((gains > 0).sum()), int((gains < 0).sum())
    sure = ""
    if pairs.between is not None:
        low, high = (_signed(quality, end) for end in (pairs.between.low, pairs.between.high))
        sure = f" ({SURE} sure: {low} to {high})"
    told = (
        f"{count(len(gains), 'pair')} of one architecture and depth, and of widths within {100 * CLOSE:g} %: "
        f"{right} is better in {better:,} and worse in {worse:,}, on average by "
        f"{_signed(quality, pairs.mean)} {quality.step()}{sure}, {_at_size(pairs.smaller)}."
    )
    rows = [
        [
            f"{row['model']}, depth {row['depth']:g}, width {row['width']:.3g}",
            *(
                html.Span(
                    [
                        dcc.Link(row[f"trial_id_{side}"], href=f"/trial/{row[f'run_id_{side}']}"),
                        f" {_points(quality, row[f'quality_{side}'])}, {size(row[f'size_{side}'])}",
                    ]
                )
                for side in ("left", "right")
            ),
            dcc.Link(
                _signed(quality, row["gain"]),
                href=f"/pair?left={row['run_id_left']}&right={row['run_id_right']}",
                title="Both side by side",
            ),
        ]
        for row in pairs.pairs.iloc[:MOST_PAIRS].to_dict("records")
    ]
    more = [note(f"and {len(gains) - MOST_PAIRS:,} more")] if len(gains) > MOST_PAIRS else []
    table = plain_table(["Shape", left, right, f"{right} is better by"], rows)
    return panel(title, table, *more, caption=told)


def _at_size(ratio: float) -> str:
    """A ratio of sizes, in words."""
    shown = f"{ratio:.2g}"
    return "at the same size" if shown == "1" else f"at {shown} times the size"


def _signed(quality: Quality, points: float) -> str:
    text = quality.number(abs(points))
    return f"{'+' if points > 0 else MINUS if points < 0 else ''}{text}"


def _options(live: Live, sweep: Sweep) -> list[dict[str, str]]:
    trials = live.trials(sweep)
    # Those of which there is most to see come first, and are compared if nobody chooses.
    finished = (trials["state"] == "finished").to_numpy(dtype=bool, na_value=False)
    methods = [*trials["method"][finished].value_counts().index, *trials["method"].value_counts().index]
    methods = list(dict.fromkeys(str(method) for method in methods))
    sweeps = [other for other in live.sweeps if other.metric == sweep.metric]
    return [
        *({"value": f"{_METHOD}{m}", "label": f"{method_label(m)}, in {sweep.name}"} for m in methods),
        *({"value": f"{_SWEEP}{other.name}", "label": f"sweep {other.name}"} for other in sweeps),
    ]


def _side(live: Live, sweep: Sweep, value: str | None) -> Side | None:
    """What a choice means; None if it is no longer there."""
    if value is None:
        return None
    if value.startswith(_METHOD):
        method = value.removeprefix(_METHOD)
        trials = live.trials(sweep)
        rows = trials[(trials["method"] == method).to_numpy(dtype=bool, na_value=False)]
        return Side(method_label(method), sweep, rows) if len(rows) else None
    name = value.removeprefix(_SWEEP)
    other = next((each for each in live.sweeps if each.name == name and each.metric == sweep.metric), None)
    return None if other is None else Side(other.name, other, live.trials(other))


def _sides(live: Live, sweep: Sweep, *values: str | None) -> list[Side]:
    return [side for value in values if (side := _side(live, sweep, value))]


def _tables(found: Comparison) -> Any:
    if found.points.empty:
        return html.Section(note("Neither has a finished trial yet."), className="panel")
    quality = found.quality
    sizes = [
        [f"{show_number(kilobytes)} kB", *(_points(quality, value) for value in row)]
        for kilobytes, row in zip(found.sizes.index, found.sizes.to_numpy(), strict=True)
    ]
    qualities = [
        [_points(quality, level), *("none" if missing(value) else size(1000 * value) for value in row)]
        for level, row in zip(found.qualities.index, found.qualities.to_numpy(), strict=True)
    ]
    return html.Div(
        [
            panel(
                f"Best {quality.label} at a given size",
                plain_table(["At most", *found.labels], sizes) if sizes else note(_no_sizes(found)),
                caption="Of the validation split.",
            ),
            panel(
                f"Smallest file at a given {quality.label}",
                plain_table(["At least" if quality.up else "At most", *found.labels], qualities)
                if qualities
                else note(_NONE_WITHIN),
                caption=f"From the best of both, {'downwards' if quality.up else 'upwards'}.",
            ),
        ],
        className="halves",
    )


_NONE_WITHIN = "No finished student of either is within the limits."


def _no_sizes(found: Comparison) -> str:
    """Why there is no size at which both can be looked at."""
    if not found.points["within"].any():
        return _NONE_WITHIN
    return "The students are of about one size: there is no round size from the smallest to the largest."


def _points(quality: Quality, points: float) -> str:
    return "none" if missing(points) else f"{quality.number(points)} {quality.unit}".rstrip()
