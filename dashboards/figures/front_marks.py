"""What students are compared with in a figure of a front: teachers, full precision, seeds."""

from __future__ import annotations

import html
import math

import plotly.graph_objects as go

from dashboards.figures.front_cloud import template_of
from dashboards.figures.front_view import FrontView, Mark
from dashboards.theme import Theme


def add_reference(figure: go.Figure, view: FrontView, theme: Theme) -> None:
    if view.reference.empty:
        return
    figure.add_scatter(
        x=view.reference["x"].tolist(),
        y=view.reference["y"].tolist(),
        mode="markers+text",
        text=[*[""] * (len(view.reference) - 1), "full precision"],
        textposition="top center",
        textfont={"size": 11.5, "color": theme.soft},
        name="Best in full precision",
        showlegend=False,
        marker={"symbol": "circle-open", "size": 18, "color": theme.soft, "line": {"width": 1.4}},
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
    add_mark(figure, view, theme, mark, ("star", 17, "bottom center"), mark.name)


def add_mark(
    figure: go.Figure, view: FrontView, theme: Theme, mark: Mark, shape: tuple[str, float, str], label: str
) -> None:
    """Draw ``mark`` where both its numbers are known: a symbol, its pixels, and the side of its label."""
    if not (math.isfinite(mark.x) and math.isfinite(mark.y)):
        return
    name = html.escape(mark.name, quote=False)
    symbol, size, side = shape
    figure.add_scatter(
        x=[mark.x],
        y=[mark.y],
        mode="markers+text",
        text=[html.escape(label, quote=False)],
        textposition=side,
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
