"""How figures look: two registered Plotly templates, ``rayduce`` and ``rayduce_dark``."""

from __future__ import annotations

from dataclasses import dataclass

import plotly.graph_objects as go
import plotly.io as pio

FONT = '"Inter", "Segoe UI", -apple-system, "Helvetica Neue", "Liberation Sans", Arial, sans-serif'

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


@dataclass(frozen=True)
class Theme:
    """Colours of figures.

    Attributes:
        template: the name under which Plotly knows it.
        ink: of text and of what stands out.
        soft: of what explains.
        line: of grids.
        edge: of axes.
        paper: behind everything.
        chosen: of the ring around the student to ship.
        allowed: of the region inside a sweep's budgets, with its opacity.
        palette: of groups, in order; apart for colour-blind readers, after Okabe and Ito.
        scale: of numbers, from few to many; even in lightness.
    """

    template: str
    ink: str
    soft: str
    line: str
    edge: str
    paper: str
    chosen: str
    allowed: str
    palette: tuple[str, ...]
    scale: tuple[str, ...]

    def colour(self, number: int) -> str:
        """Of the ``number``-th group; colours repeat after the last."""
        return self.palette[number % len(self.palette)]


# Okabe and Ito's yellow is too light on white, their blue too dark on black.
LIGHT = Theme(
    template="rayduce",
    ink="#18212f",
    soft="#5b6675",
    line="#e9ecf1",
    edge="#c8cfd9",
    paper="#ffffff",
    chosen="#B3006B",
    allowed="rgba(0, 158, 115, 0.07)",
    palette=("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#5B4B8A", "#7A6A3A"),
    scale=("#d7e6f4", "#9cc4e4", "#5a9bd0", "#2470b0", "#0b3f75"),
)
DARK = Theme(
    template="rayduce_dark",
    ink="#e8edf4",
    soft="#a3aebd",
    line="#2a3340",
    edge="#465263",
    paper="#171d26",
    chosen="#FF6EC7",
    allowed="rgba(45, 190, 146, 0.10)",
    palette=("#4EA3E0", "#F08A4B", "#2DBE92", "#E29AC6", "#F2B632", "#9BD5F7", "#A695E0", "#C9B56B"),
    scale=("#35597f", "#3c74a8", "#4f93cf", "#86bce8", "#d3e8f9"),
)
THEMES = {"light": LIGHT, "dark": DARK}


def theme_of(name: str | None) -> Theme:
    """The theme called ``light`` or ``dark``; light if there is none of that name."""
    return THEMES.get(name or "", LIGHT)


def _template(theme: Theme) -> go.layout.Template:
    axis = {
        "gridcolor": theme.line,
        "linecolor": theme.edge,
        "tickcolor": theme.edge,
        "zeroline": False,
        "automargin": True,
        "title": {"standoff": 12, "font": {"size": 13.5}},
    }
    solid = {
        "backgroundcolor": theme.paper,
        "gridcolor": theme.edge,
        "linecolor": theme.edge,
        "zerolinecolor": theme.edge,
    }
    return go.layout.Template(
        layout={
            "font": {"family": FONT, "size": 13.5, "color": theme.ink},
            "paper_bgcolor": theme.paper,
            "plot_bgcolor": theme.paper,
            "colorway": list(theme.palette),
            "colorscale": {"sequential": [list(pair) for pair in colour_scale(theme)]},
            "margin": {"l": 66, "r": 46, "t": 44, "b": 58},
            "modebar": {
                "orientation": "v",
                "bgcolor": "rgba(0,0,0,0)",
                "color": theme.soft,
                "activecolor": theme.ink,
            },
            "hoverlabel": {
                "bgcolor": theme.paper,
                "bordercolor": theme.edge,
                "font": {"family": FONT, "size": 13, "color": theme.ink},
                "align": "left",
            },
            "legend": {
                "orientation": "h",
                "x": 0,
                "y": 1.02,
                "yanchor": "bottom",
                "title": {"text": ""},
                "font": {"size": 12.5},
                "maxheight": 0.25,  # scrolls beyond that, or on a phone nothing would be left of the figure
            },
            "xaxis": {**axis, "showline": True, "ticks": "outside"},
            "yaxis": axis,
            "scene": {"xaxis": solid, "yaxis": solid, "zaxis": solid},
        }
    )


def colour_scale(theme: Theme) -> list[tuple[float, str]]:
    """``theme.scale`` with its places from 0 to 1."""
    last = len(theme.scale) - 1
    return [(i / last, colour) for i, colour in enumerate(theme.scale)]


for _theme in THEMES.values():
    pio.templates[_theme.template] = _template(_theme)
