"""What several figures are made of."""

from __future__ import annotations

import math
from collections.abc import Iterable

import plotly.graph_objects as go

from dashboards.theme import Theme


def styled(figure: go.Figure, theme: Theme, height: int) -> go.Figure:
    """``figure`` in the colours of ``theme``, ``height`` pixels tall."""
    figure.update_layout(template=theme.template, height=height, hovermode="closest")
    return figure


def empty(theme: Theme, height: int, text: str) -> go.Figure:
    """Nothing but a sentence."""
    figure = styled(go.Figure(), theme, height)
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    figure.add_annotation(
        text=text,
        xref="paper",
        yref="paper",
        x=0.5,
        y=0.5,
        showarrow=False,
        font={"size": 16, "color": theme.soft},
    )
    return figure


def round_ticks(values: Iterable[float]) -> list[float]:
    """Round values of a logarithmic axis: 1, 2 and 5 times powers of ten; fewer over a wide
    range, more over a narrow one."""
    numbers = [value for value in values if math.isfinite(value) and value > 0]
    if not numbers:
        return []
    low, high = math.log10(min(numbers)), math.log10(max(numbers))
    steps: tuple[float, ...] = (1, 2, 5) if high - low < 3.2 else (1, 3) if high - low < 5 else (1,)
    if high - low < 0.7:
        steps = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)
    exponents = range(math.floor(low) - 1, math.ceil(high) + 1)
    return [float(f"{step}e{e}") for e in exponents for step in steps]


def padded(low: float, high: float, share: float = 0.06, least: float = 0.08) -> tuple[float, float]:
    """The range from ``low`` to ``high`` with room on both sides."""
    pad = max(share * (high - low), least)
    return low - pad, high + pad


def faded(colour: str, opacity: float) -> str:
    """``#rrggbb`` with an opacity in [0, 1]."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {opacity:g})"
