"""What students are compared with in a figure of a front: teachers, full precision, seeds."""

from __future__ import annotations

import html
import math

import plotly.graph_objects as go

from dashboards.figures.front_cloud import template_of
from dashboards.figures.front_view import FrontView, Mark
from dashboards.figures.labels import Labels
from dashboards.theme import Theme

FULL_PRECISION = "full precision"
FRONT, RING, STAR, CROSS = 13, 18, 17, 12
"""Pixels of the marks of the front, of full precision, of teachers, and of what a runtime makes of
them."""


def labels_of(view: FrontView, across: tuple[float, float], up: tuple[float, float]) -> Labels:
    """What finds room for the labels of the marks of ``view``, at none of which a label is to stand."""
    labels = Labels(view.x, across, view.y, up)
    for marks, pixels in ((view.teachers, STAR), (view.runtimes, CROSS)):
        for mark in filter(is_placed, marks):
            labels.keep_free(mark.x, mark.y, pixels)
    front = view.data[view.data["front"]]
    for rows, pixels in ((view.reference, RING), (front, FRONT)):
        for x, y in zip(rows["x"], rows["y"], strict=True):
            labels.keep_free(x, y, pixels)
    return labels


def add_reference(figure: go.Figure, view: FrontView, theme: Theme, labels: Labels) -> None:
    if view.reference.empty:
        return
    x, y = view.reference["x"].tolist(), view.reference["y"].tolist()
    figure.add_scatter(
        x=x,
        y=y,
        mode="markers+text",
        text=[*[""] * (len(x) - 1), FULL_PRECISION],
        textposition=labels.side(x[-1], y[-1], RING, FULL_PRECISION, "top center"),
        textfont={"size": 11.5, "color": theme.soft},
        cliponaxis=False,
        name="Best in full precision",
        showlegend=False,
        marker={"symbol": "circle-open", "size": RING, "color": theme.soft, "line": {"width": 1.4}},
        hoverinfo="skip",
        legendrank=2900,
    )


def add_spread(figure: go.Figure, view: FrontView, theme: Theme) -> None:
    rows = view.spread
    if rows.empty:
        return
    figure.add_scatter(
        x=rows["x"].tolist(),
        y=rows["y"].tolist(),
        error_y={
            "type": "data",
            "symmetric": False,
            "array": (rows["high"] - rows["y"]).tolist(),
            "arrayminus": (rows["y"] - rows["low"]).tolist(),
            "color": theme.soft,
            "thickness": 1.4,
            "width": 5,
        },
        mode="markers",
        name="Mean and spread over seeds",
        marker={"symbol": "diamond", "size": 7, "color": theme.soft},
        hovertext=[f"Mean of {int(number)} seeds" for number in rows["count"]],
        hovertemplate=template_of(view),
        legendrank=2950,
    )


def add_teacher(
    figure: go.Figure,
    view: FrontView,
    theme: Theme,
    mark: Mark,
    labels: Labels,
    limits: tuple[float, float],
    dash: str,
) -> None:
    name = html.escape(mark.name, quote=False)
    if math.isfinite(mark.y):
        figure.add_scatter(
            x=[10 ** limits[0], 10 ** limits[1]] if view.x.log else list(limits),
            y=[mark.y, mark.y],
            mode="lines",
            name=name,
            legendgroup=name,
            showlegend=not math.isfinite(mark.x),
            line={"color": theme.soft, "width": 1.2, "dash": "dash" if dash == "solid" else dash},
            hoverinfo="skip",
            legendrank=3000,
        )
    _add_mark(figure, view, theme, mark, ("star", STAR, mark.name, "bottom center"), labels)


def add_runtime(figure: go.Figure, view: FrontView, theme: Theme, mark: Mark, labels: Labels) -> None:
    # Smaller than the teacher, so that its label has room on the left, and the teacher's below.
    look = ("x", CROSS, "ONNX int8", "bottom left")
    _add_mark(figure, view, theme, mark, look, labels)


def is_placed(mark: Mark) -> bool:
    """Whether both its numbers are known."""
    return math.isfinite(mark.x) and math.isfinite(mark.y)


def _add_mark(
    figure: go.Figure,
    view: FrontView,
    theme: Theme,
    mark: Mark,
    look: tuple[str, float, str, str],
    labels: Labels,
) -> None:
    """Draw ``mark`` if it has a place: its symbol, the pixels of that, its label, its side."""
    if not is_placed(mark):
        return
    name = html.escape(mark.name, quote=False)
    symbol, size, label, wanted = look
    figure.add_scatter(
        x=[mark.x],
        y=[mark.y],
        mode="markers+text",
        text=[html.escape(label, quote=False)],
        textposition=labels.side(mark.x, mark.y, size, label, wanted),
        textfont={"size": 11.5, "color": theme.soft},
        cliponaxis=False,
        showlegend=False,  # it says itself what it is
        name=name,
        legendgroup=name,
        marker={
            "symbol": symbol,
            "size": size,
            "color": theme.ink,
            "line": {"color": theme.paper, "width": 1.5},
        },
        hovertext=[f"<b>{name}</b>,<br>{mark.told}"],
        hovertemplate=template_of(view),
        legendrank=3000,
    )
