"""What the parameters of recipes do to a result."""

from __future__ import annotations

import html
import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboards.axes import Axis
from dashboards.figures.parts import empty, round_ticks, styled
from dashboards.text import number
from dashboards.theme import LIGHT, Theme, colour_scale

NONE = "none"
MOST_SLICE = 3000
MOST_LINES = 2000
CELLS = 8
MOST_TICKS = 6


def parameter_label(name: str) -> str:
    """``phases.0.optimizer.learning_rate`` -> ``learning rate (phase 1)``; other names by their last word."""
    parts = name.removeprefix("origin.").split(".")
    words = [part for part in parts if not part.isdigit()]
    last = words[-1].replace("_", " ") if words else name
    if len(words) > 1 and last == "value":
        words = words[:-1]
        last = words[-1].replace("_", " ")
    elif len(words) > 1 and last in ("start", "end", "power"):
        last = f"{words[-2].replace('_', ' ')}, {last}"
    if parts[0] == "phases" and len(parts) > 1 and parts[1].isdigit():
        return f"{last} (phase {int(parts[1]) + 1})"
    return f"{last} ({words[0]})" if len(words) > 1 else last


def labels_of(names: list[str]) -> dict[str, str]:
    """Name -> label; the full name where two would be called the same."""
    short = {name: parameter_label(name) for name in names}
    taken = list(short.values())
    return {name: label if taken.count(label) == 1 else name for name, label in short.items()}


def importance_figure(spreads: dict[str, pd.DataFrame], theme: Theme = LIGHT, *, most: int = 10) -> go.Figure:
    """Bars of how much each parameter explains, per objective; whiskers say how far that can be relied on.

    Args:
        spreads: objective -> share, low and high of each parameter, as
            :func:`search.objectives.importance.importance_spread` computes them.
        theme: its colours.
        most: parameters shown, those that matter most to any objective.
    """
    table = pd.DataFrame({name: each["share"] for name, each in spreads.items()}).fillna(0.0)
    if table.empty:
        return empty(
            theme, 300, "Too few trials to say: eight finished ones with different parameters are needed"
        )
    table = table.loc[table.max(axis=1).sort_values().index[-most:]]
    labels = labels_of([str(name) for name in table.index])
    figure = styled(go.Figure(), theme, 110 + 24 * len(table) * max(1, round(0.8 * len(table.columns))))
    for i, objective in enumerate(table.columns):
        figure.add_bar(
            x=(100 * table[objective]).round(2).tolist(),
            y=[html.escape(labels[str(name)], quote=False) for name in table.index],
            orientation="h",
            name=html.escape(str(objective), quote=False),
            marker={"color": theme.colour(i)},
            error_x=_whiskers(spreads[str(objective)].reindex(table.index).fillna(0.0), theme),
            hovertemplate="%{y}: %{x:.0f} %<extra></extra>",
        )
    figure.update_layout(bargap=0.3, margin={"l": 10, "t": 40}, legend={"traceorder": "reversed"})
    figure.update_xaxes(title_text="Share of the variance explained (%)", rangemode="tozero")
    figure.update_yaxes(showgrid=False, ticksuffix="  ")
    return figure


def _whiskers(spread: pd.DataFrame, theme: Theme) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": (100 * (spread["high"] - spread["share"])).round(2).tolist(),
        "arrayminus": (100 * (spread["share"] - spread["low"])).round(2).tolist(),
        "color": theme.soft,
        "thickness": 1.3,
        "width": 3,
    }


def doubtful(spreads: dict[str, pd.DataFrame]) -> str:
    """A sentence where trials are too few for an order of the parameters; empty where they are not.

    That is where the one that matters most to an objective may matter less than the second.
    """
    open_ = [
        name
        for name, each in spreads.items()
        if len(each) > 1 and each["low"].iloc[0] < each["high"].iloc[1:].max()
    ]
    if not open_:
        return ""
    return f"Too few trials to say which matters most to {' and '.join(open_)}: the whiskers overlap."


def parallel_figure(
    parameters: pd.DataFrame, values: pd.Series[float], axis: Axis, theme: Theme = LIGHT, *, height: int = 420
) -> go.Figure:
    """A line per trial through its parameters, coloured by a result.

    Args:
        parameters: one column per parameter shown, at most a dozen.
        values: the result, as shown on ``axis``; NaN leaves a trial out.
        axis: of the result.
        theme: its colours.
        height: in pixels.
    """
    known = values.dropna()
    if known.empty or not len(parameters.columns):
        return empty(theme, height, "No finished trial with parameters that differ yet")
    if len(known) > MOST_LINES:
        known = known.iloc[np.linspace(0, len(known) - 1, MOST_LINES).astype(int)]
    rows, labels = parameters.loc[known.index], labels_of([str(name) for name in parameters])
    dimensions = [_dimension(rows[name], labels[str(name)]) for name in rows]
    # Words stand left of their axis: the longest come first, where there is room.
    dimensions.sort(key=lambda dimension: -max(map(len, dimension["ticktext"])))
    room = 7 * max(map(len, dimensions[0]["ticktext"])) + 20
    drawn = np.log10(known.to_numpy()) if axis.log else known.to_numpy()
    digits = 6 - math.ceil(math.log10(np.abs(drawn).max() or 1.0))
    shown = drawn.round(min(max(4, digits), 60)).tolist()
    result: dict[str, Any] = {"label": axis.label, "values": shown}
    if axis.log:
        result |= _log_ticks(known)
    figure = styled(go.Figure(), theme, height)
    figure.add_parcoords(
        dimensions=[*dimensions, result],
        line={
            "color": shown,
            "colorscale": [list(pair) for pair in colour_scale(theme)],
            "showscale": False,
        },
        labelfont={"size": 12.5, "color": theme.ink},
        tickfont={"size": 11.5, "color": theme.ink},
        rangefont={"size": 1, "color": "rgba(0,0,0,0)"},
        unselected={"line": {"color": theme.line, "opacity": 0.25}},
    )
    figure.update_layout(margin={"l": max(room, 70), "r": 70, "t": 60, "b": 24})
    return figure


def slice_figure(
    parameter: pd.Series[Any],
    values: pd.Series[float],
    axis: Axis,
    front: pd.Series[bool],
    theme: Theme = LIGHT,
) -> go.Figure:
    """A result against one parameter: a mark per trial, members of the front in full colour."""
    known = values.dropna()
    if known.empty:
        return empty(theme, 360, "No finished trial yet")
    if len(known) > MOST_SLICE:
        kept = known.index[front.loc[known.index]]
        sample = known.iloc[np.linspace(0, len(known) - 1, MOST_SLICE).astype(int)].index
        known = known.loc[sample.union(kept, sort=False).unique()]
    text, places = _places(parameter.loc[known.index])
    figure = styled(go.Figure(), theme, 360)
    on_front = front.loc[known.index].to_numpy(dtype=bool)
    random = np.random.default_rng(0)
    # Choices are spread sideways, so that trials with the same one do not hide each other.
    jitter = random.uniform(-0.28, 0.28, len(known)) if text else np.zeros(len(known))
    for chosen, name in ((~on_front, "dominated"), (on_front, "on the front")):
        figure.add_scatter(
            x=(places + jitter)[chosen].tolist(),
            y=known.to_numpy()[chosen].tolist(),
            mode="markers",
            name=name,
            marker={
                "color": theme.colour(0) if name == "on the front" else theme.soft,
                "size": 10 if name == "on the front" else 6,
                "opacity": 1.0 if name == "on the front" else 0.35,
            },
            hovertemplate="%{y:.4~g}<extra></extra>",
        )
    _name_axis(figure.update_xaxes, parameter.loc[known.index], text)
    figure.update_yaxes(title_text=axis.title, type="log" if axis.log else "linear")
    return figure


def contour_data(
    first: pd.Series[Any], second: pd.Series[Any], values: pd.Series[float], up: bool
) -> tuple[list[str], list[str], np.ndarray[Any, np.dtype[np.float64]]]:
    """The best result in each cell of two parameters.

    Numbers with many values are cut into at most 8 ranges that hold equally many trials.

    Returns:
        Labels of the first parameter's cells, of the second's, and the results, shape (second, first), NaN
        where there is no trial.
    """
    known = values.dropna()
    columns, across = _cells(first.loc[known.index])
    rows, along = _cells(second.loc[known.index])
    grid = np.full((len(rows), len(columns)), np.nan)
    for i, j, value in zip(along, across, known, strict=True):
        if np.isnan(grid[i, j]) or (value > grid[i, j]) == up:
            grid[i, j] = value
    return columns, rows, grid


def contour_figure(
    first: pd.Series[Any], second: pd.Series[Any], values: pd.Series[float], axis: Axis, theme: Theme = LIGHT
) -> go.Figure:
    """The best result over two parameters, as a map; empty cells were not tried."""
    columns, rows, grid = contour_data(first, second, values, axis.up)
    if not columns or not rows:
        return empty(theme, 360, "No finished trial yet")
    shown = np.log10(grid) if axis.log else grid
    scale = [list(pair) for pair in colour_scale(theme)]
    figure = styled(go.Figure(), theme, 360)
    bar: dict[str, Any] = {"title": {"text": axis.unit or axis.label}, "thickness": 14, "outlinewidth": 0}
    if axis.log:
        ticks = _log_ticks(pd.Series(grid[np.isfinite(grid)]))
        bar |= ticks
    figure.add_heatmap(
        x=columns,
        y=rows,
        z=shown.tolist(),
        customdata=grid.tolist(),
        colorscale=scale,
        reversescale=not axis.up,
        colorbar=bar,
        xgap=2,
        ygap=2,
        hovertemplate="%{x}, %{y}: %{customdata:.4~g}<extra></extra>",
    )
    labels = labels_of([str(first.name), str(second.name)])
    figure.update_layout(margin={"t": 20})
    figure.update_xaxes(
        title_text=html.escape(labels[str(first.name)], quote=False), type="category", showgrid=False
    )
    figure.update_yaxes(
        title_text=html.escape(labels[str(second.name)], quote=False), type="category", showgrid=False
    )
    return figure


def _is_text(column: pd.Series[Any]) -> bool:
    """Whether values are choices: words, and few whole numbers, of which each may be named.

    Other numbers stand where they are on a scale: side by side they would look equally far apart.
    """
    if column.dtype != "float64":
        return True
    return column.nunique() <= 8 and bool((column.dropna() % 1 == 0).all())


def _labels(column: pd.Series[Any]) -> pd.Series[Any]:
    return pd.Series(
        [NONE if pd.isna(v) else number(v) if isinstance(v, float) else str(v) for v in column],
        index=column.index,
    )


def _order(column: pd.Series[Any]) -> list[str]:
    """The choices of a column as text: none first, numbers by size, text by alphabet."""
    known = sorted({value for value in column if not pd.isna(value)}, key=_rank)
    start = [NONE] if column.isna().any() else []
    return list(dict.fromkeys([*start, *_labels(pd.Series(known, dtype=object))]))


def _rank(value: Any) -> tuple[float, str]:
    """Numbers by size, then text by alphabet."""
    try:
        return float(value), ""
    except ValueError:
        return math.inf, str(value)


def _scale(column: pd.Series[float]) -> tuple[bool, pd.Series[float], float]:
    """Whether numbers are shown by their logarithm, the numbers as shown, and the place of what has none."""
    log = bool(column.min() > 0 and column.max() / column.min() > 50)
    shown = pd.Series(np.log10(column) if log else column)
    aside = float(shown.min() - 0.12 * (shown.max() - shown.min()))
    return log, shown.fillna(aside), aside


def _ticks(column: pd.Series[float]) -> dict[str, Any]:
    """Ticks of :func:`_scale`: round numbers, and none where trials have none."""
    log, _, aside = _scale(column)
    low, high = float(column.min()), float(column.max())
    ticks = (
        [tick for tick in round_ticks([low, high]) if low <= tick <= high]
        if log
        else round_numbers(low, high)
    )
    at = [math.log10(tick) if log else tick for tick in ticks]
    missing = bool(column.isna().any())
    return {
        "tickvals": [*([aside] if missing else []), *at],
        "ticktext": [*([NONE] if missing else []), *(number(tick) for tick in ticks)],
    }


def round_numbers(low: float, high: float) -> list[float]:
    """At most six round numbers from ``low`` to ``high``, equally far apart."""
    power = math.floor(math.log10((high - low) or 1.0)) - 1
    for step in (factor * 10.0 ** (power + more) for more in range(3) for factor in (1, 2, 5)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < MOST_TICKS:
            break
    return [float(f"{step * place:.12g}") for place in range(first, last + 1)]


def _places(column: pd.Series[Any]) -> tuple[list[str], np.ndarray[Any, np.dtype[np.float64]]]:
    """The choices if it is one of few, and where each trial stands on the axis."""
    if not _is_text(column):
        return [], np.asarray(_scale(column)[1], dtype=np.float64)
    order = _order(column)
    places = {text: float(i) for i, text in enumerate(order)}
    return order, np.array([places[text] for text in _labels(column)])


def _name_axis(update: Any, parameter: pd.Series[Any], text: list[str]) -> None:
    title = html.escape(parameter_label(str(parameter.name)), quote=False)
    if text:
        safe = [_shown(value) for value in text]
        places = list(range(len(text)))
        update(
            title_text=title,
            tickvals=places,
            ticktext=safe,
            range=[-0.5, len(text) - 0.5],
            ticklabeloverflow="allow",  # else Plotly leaves out what stands out, as it does of numbers
        )
        return
    update(title_text=title, **_ticks(parameter))


def _cells(column: pd.Series[Any]) -> tuple[list[str], list[int]]:
    if column.dtype == "float64" and column.nunique() > CELLS:
        ranges = pd.qcut(column, CELLS, duplicates="drop")
        edges = [column.min(), *(part.right for part in ranges.cat.categories)]  # pandas begins a bit below
        names = [f"{number(low)}\N{EN DASH}{number(high)}" for low, high in itertools.pairwise(edges)]
        codes = [int(code) for code in ranges.cat.codes]
        if -1 in codes:
            names, codes = [NONE, *names], [code + 1 for code in codes]
        return names, codes
    order = _order(column)
    places = {text: i for i, text in enumerate(order)}
    return [_shown(text) for text in order], [places[text] for text in _labels(column)]


def _shown(text: str) -> str:
    """A choice as it stands on an axis."""
    return html.escape(text.replace("_", " "), quote=False)


def _dimension(column: pd.Series[Any], label: str) -> dict[str, Any]:
    order, places = _places(column)
    title = html.escape(label, quote=False).replace(" (", "<br>(")
    if order:
        safe = [_shown(text[:34]) for text in order]
        return {
            "label": title,
            "values": places.tolist(),
            "tickvals": list(range(len(order))),
            "ticktext": safe,
        }
    return {"label": title, "values": places.round(4).tolist(), **_ticks(column)}


def _log_ticks(values: pd.Series[float]) -> dict[str, Any]:
    low, high = np.log10(values.min()), np.log10(values.max())
    ticks = [float(tick) for tick in np.linspace(low, high, 5)]
    return {"tickvals": ticks, "ticktext": [number(10**tick) for tick in ticks]}
