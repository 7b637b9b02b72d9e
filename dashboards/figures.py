"""The front as a figure: one pure function computes its data, another draws it."""

from __future__ import annotations

import html
import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import plotly.io as pio

from dashboards.text import method_label, missing, number, score, share, size, times
from trainables.metrics import Quality

TEMPLATE = "rayduce"
INK, SOFT, LINE = "#18212f", "#5b6675", "#e9ecf1"
FONT = '"Inter", "Segoe UI", -apple-system, "Helvetica Neue", "Liberation Sans", Arial, sans-serif'

# Okabe and Ito's colours, which keep apart for colour-blind readers; their yellow is too light on white.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5B4B8A", "#7A6A3A")
SYMBOLS = (
    "circle",
    "square",
    "diamond",
    "triangle-up",
    "pentagon",
    "triangle-down",
    "hexagon",
    "star-square",
)

KILOBYTE = 1000
FRONT_SIZE, DOMINATED_SIZE = 13, 8

pio.templates[TEMPLATE] = go.layout.Template(
    layout={
        "font": {"family": FONT, "size": 13.5, "color": INK},
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "colorway": list(PALETTE),
        "margin": {"l": 66, "r": 46, "t": 44, "b": 58},
        "modebar": {"orientation": "v", "bgcolor": "rgba(0,0,0,0)", "color": "#b4bcc8", "activecolor": SOFT},
        "hoverlabel": {
            "bgcolor": "#ffffff",
            "bordercolor": "#c8cfd9",
            "font": {"family": FONT, "size": 13, "color": INK},
            "align": "left",
        },
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "title": {"text": ""}},
        "xaxis": {
            "gridcolor": LINE,
            "linecolor": "#c8cfd9",
            "showline": True,
            "ticks": "outside",
            "tickcolor": "#c8cfd9",
            "zeroline": False,
            "title": {"standoff": 12, "font": {"size": 13.5}},
        },
        "yaxis": {"gridcolor": LINE, "zeroline": False, "title": {"standoff": 12, "font": {"size": 13.5}}},
    }
)


@dataclass(frozen=True)
class Teacher:
    """The full-precision network everything is compared with.

    Attributes:
        quality: on the validation split, as logged.
        packed_bytes: of its full-precision file.
    """

    quality: float
    packed_bytes: float


def front_data(trials: pd.DataFrame, quality: Quality) -> pd.DataFrame:
    """What the figure shows: one row per finished or stopped trial whose quality and size were measured.

    Pruned ones were no candidates; their early qualities would take up most of the plane.

    Args:
        trials: as :meth:`search.store.Store.trials` returns them.
        quality: by which the sweep selected.

    Returns:
        Columns run_id, method (label), kilobytes (1000 bytes), quality (validation, in points),
        front (bool) and hover (HTML; everything from the store is escaped), in the order of ``trials``.
    """
    shown = trials[
        trials["state"].isin(["finished", "stopped"]).to_numpy(dtype=bool)
        & np.isfinite(trials[quality.validation].to_numpy(dtype=float))
        & (trials["packed_bytes"].to_numpy(dtype=float, na_value=np.nan) > 0)
    ]
    return pd.DataFrame(
        {
            "run_id": shown["run_id"].to_numpy(dtype=object),
            "method": [method_label(method) for method in shown["method"]],
            "kilobytes": shown["packed_bytes"].to_numpy(dtype=float) / KILOBYTE,
            "quality": [quality.points(value) for value in shown[quality.validation]],
            "front": shown["front"].to_numpy(dtype=bool),
            "hover": [_hover(row, quality) for row in shown.to_dict("records")],
        }
    )


def staircase(data: pd.DataFrame) -> pd.DataFrame:
    """The corners of the front's steps, smallest file first: columns kilobytes and quality.

    Only what improves on every smaller file is a step, so that a front of three objectives, or one
    with hand-set marks, still draws as a staircase.
    """
    front = data[data["front"]].sort_values(["kilobytes", "quality"], ascending=[True, False])
    best = front["quality"].cummax().shift(fill_value=-math.inf)
    return front.loc[front["quality"] > best, ["kilobytes", "quality"]].reset_index(drop=True)


def method_colours(methods: list[str]) -> dict[str, str]:
    """Method -> colour, by first appearance, so that a running sweep never recolours."""
    return {method: PALETTE[i % len(PALETTE)] for i, method in enumerate(dict.fromkeys(methods))}


VIEW_POINTS = 25.0
"""How far below the best of the front, in points of quality, the first view reaches."""


def quality_range(data: pd.DataFrame, quality: Quality, teacher: Teacher | None) -> tuple[float, float]:
    """Limits of the quality axis in points: the front down to ``VIEW_POINTS`` below its best.

    Students that learned little lie far below, the smallest of the front among them, and would squeeze
    into a line what a user chooses from; the view says how many it leaves out.
    """
    chosen = data.loc[data["front"] if data["front"].any() else slice(None), "quality"]
    chosen = chosen[chosen >= chosen.max() - VIEW_POINTS]
    known = teacher is not None and math.isfinite(teacher.quality)
    values = [*chosen, *([quality.points(teacher.quality)] if teacher and known else [])]
    if not values:
        return quality.points(quality.lowest), quality.points(quality.highest)
    low, high = min(values), max(values)
    span = max(high - low, 2.0)
    lowest = min([low, *data["quality"]])
    most = quality.points(quality.highest) + 1.0  # room for the mark of a perfect student
    bottom = lowest if lowest >= low - span else low - 0.5 * span
    return bottom - 0.08 * (high - bottom + 1), min(high + 0.09 * (high - bottom + 1), most)


def size_ticks(kilobytes: list[float]) -> list[float]:
    """Round values of a logarithmic size axis: 1, 2 and 5 times powers of ten; fewer over a wide range."""
    if not kilobytes:
        return []
    low, high = math.log10(min(kilobytes)), math.log10(max(kilobytes))
    steps = (1, 2, 5) if high - low < 3.2 else (1, 3) if high - low < 5 else (1,)
    exponents = range(math.floor(low) - 1, math.ceil(high) + 1)
    return [float(f"{step}e{e}") for e in exponents for step in steps]


def front_figure(
    data: pd.DataFrame, quality: Quality, *, teacher: Teacher | None = None, height: int = 480
) -> go.Figure:
    """Draw quality against packed size, the front in full colour and the rest faint.

    Args:
        data: as :func:`front_data` returns it.
        quality: what the vertical axis shows.
        teacher: drawn as a star at its size and a line at its quality.
        height: in pixels.
    """
    figure = go.Figure()
    if teacher is not None and not math.isfinite(teacher.quality):
        teacher = None
    sizes = [*data["kilobytes"]]
    if teacher is not None and teacher.packed_bytes > 0:
        sizes.append(teacher.packed_bytes / KILOBYTE)
    if not sizes:
        return _empty(figure, height)

    left, right = math.log10(min(sizes)), math.log10(max(sizes))
    pad = max(0.06 * (right - left), 0.08)
    limits = (left - pad, right + pad)
    bottom, top = quality_range(data, quality, teacher)

    steps = staircase(data)
    if len(steps):
        edge = 10 ** limits[1]
        figure.add_scatter(
            x=[*steps["kilobytes"], edge],
            y=[*steps["quality"], steps["quality"].iloc[-1]],
            mode="lines",
            name="Front",
            line={"shape": "hv", "color": INK, "width": 1.4},
            fill="tozeroy",
            fillcolor="rgba(24, 33, 47, 0.035)",
            hoverinfo="skip",
            legendrank=2000,
        )
    colours = method_colours([*data["method"]])
    for i, (method, colour) in enumerate(colours.items()):
        rows = data[data["method"] == method]
        name, symbol = html.escape(method, quote=False), SYMBOLS[i % len(SYMBOLS)]
        for on_front in (False, True):
            part = rows[rows["front"] == on_front]
            figure.add_scatter(
                x=[*part["kilobytes"]],
                y=[*part["quality"]],
                mode="markers",
                name=name,
                legendgroup=str(i),
                showlegend=False,
                hoverinfo="text",
                hovertext=[*part["hover"]],
                customdata=[*part["run_id"]],
                marker={
                    "color": colour,
                    "symbol": symbol,
                    "size": FRONT_SIZE if on_front else DOMINATED_SIZE,
                    "opacity": 1.0 if on_front else 0.32,
                    "line": {"color": "#ffffff" if on_front else colour, "width": 1.5 if on_front else 0},
                },
            )
        # A mark of its own, so that the legend shows every method in full colour.
        figure.add_scatter(
            x=[None],
            y=[None],
            mode="markers",
            name=name,
            legendgroup=str(i),
            legendrank=1000 + i,
            marker={"color": colour, "symbol": symbol, "size": 11},
        )
    if teacher is not None:
        _add_teacher(figure, quality, teacher, limits)
    below = int((data["quality"] < bottom).sum())
    if below:
        figure.add_annotation(
            text=f"{below} below this view; double-click shows all",
            xref="paper",
            yref="paper",
            x=1,
            y=0.01,
            xanchor="right",
            yanchor="bottom",
            showarrow=False,
            font={"size": 12, "color": SOFT},
        )
    ticks = size_ticks(sizes)
    figure.update_layout(template=TEMPLATE, height=height, hovermode="closest", uirevision="front")
    figure.update_xaxes(
        type="log",
        range=list(limits),
        tickvals=ticks,
        ticktext=[number(tick) for tick in ticks],
        title_text="Packed size (kB = 1000 bytes, logarithmic)",
    )
    figure.update_yaxes(range=[bottom, top], title_text=f"Validation {quality.heading}")
    return figure


def _add_teacher(figure: go.Figure, quality: Quality, teacher: Teacher, limits: tuple[float, float]) -> None:
    height = quality.points(teacher.quality)
    figure.add_scatter(
        x=[10 ** limits[0], 10 ** limits[1]],
        y=[height, height],
        mode="lines",
        name="Teacher",
        legendgroup="teacher",
        showlegend=not teacher.packed_bytes > 0,
        line={"color": SOFT, "width": 1.2, "dash": "dash"},
        hoverinfo="skip",
        legendrank=3000,
    )
    if teacher.packed_bytes > 0:
        figure.add_scatter(
            x=[teacher.packed_bytes / KILOBYTE],
            y=[height],
            mode="markers",
            name="Teacher",
            legendgroup="teacher",
            marker={"symbol": "star", "size": 17, "color": INK, "line": {"color": "#ffffff", "width": 1.5}},
            hoverinfo="text",
            hovertext=[
                f"<b>Teacher</b><br>{size(teacher.packed_bytes)}<br>"
                f"{quality.label} {quality.text(teacher.quality)} validation"
            ],
            legendrank=3000,
        )


def _empty(figure: go.Figure, height: int) -> go.Figure:
    figure.update_layout(template=TEMPLATE, height=height)
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    figure.add_annotation(
        text="No trial has ended yet",
        xref="paper",
        yref="paper",
        x=0.5,
        y=0.5,
        showarrow=False,
        font={"size": 16, "color": SOFT},
    )
    return figure


def _hover(row: dict[Hashable, Any], quality: Quality) -> str:
    def known(*parts: tuple[str, object]) -> str:
        return " · ".join(text.format(value) for text, value in parts if not missing(value) and value != "")

    lines = [
        known(
            ("{}", method_label(row["method"])),
            ("{} bit", row["bits"]),
            ("buckets of {}", row["bucket_size"]),
        ),
        known(
            ("depth {}", row["depth"]),
            ("width {:g}", row["width"]),
            ("sparsity {}", share(row["sparsity"])),
        ),
        known(
            ("{}", size(row["packed_bytes"])),
            ("{} smaller", times(row["compression_ratio"])),
            ("{:.3g} ms", row["latency_ms"]),
        ),
        *(known((f"{cost.label}: {{:.3g}} {cost.unit}".rstrip(), row[cost.name])) for cost in quality.costs),
    ]
    for each in quality.reported:
        scores = known(
            ("{} validation", score(each, row[each.validation])), ("{} test", score(each, row[each.name]))
        )
        lines.append(f"{each.label} {scores}" if scores else "")
    name = html.escape(str(row["name"]), quote=False)
    return f"<b>{name}</b><br>" + "<br>".join(html.escape(line, quote=False) for line in lines if line)
