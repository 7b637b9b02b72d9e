"""Curves with their spread as an SVG file, drawn by hand."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 60, 150, 16, 44
COLOURS = ("#888888", "#444444", "#c9a227", "#2f7fb8", "#b3261e", "#5b8c5a", "#7b4fa3", "#d9772b", "#20a39e")


def draw_figure(curves: Mapping[str, NDArray[np.float64]], across: str, up: str) -> str:
    """One line per search, the mean of its seeds; the band is from the first to the third quartile.

    Args:
        curves: name -> shape (seeds, moments), the moments equally far apart up to 1.
        across: what is along the horizontal axis.
        up: what is along the vertical axis.
    """
    least = min(float(np.quantile(curve[:, len(curve[0]) // 8], 0.25)) for curve in curves.values())
    most = max(float(curve.max()) for curve in curves.values())

    def place(share: float, value: float) -> str:
        x = LEFT + share * (WIDTH - LEFT - RIGHT)
        y = TOP + (most - max(value, least)) / (most - least) * (HEIGHT - TOP - BOTTOM)
        return f"{x:.1f},{y:.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for tick in np.linspace(least, most, 5):
        x, y = place(0.0, float(tick)).split(",")
        end = WIDTH - RIGHT
        parts.append(f'<line x1="{x}" y1="{y}" x2="{end}" y2="{y}" stroke="#e5e5e5"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y}" text-anchor="end" dy="4">{tick:.2f}</text>')
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = place(share, least).split(",")[0]
        parts.append(f'<text x="{x}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{share:g}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{escape(across)}</text>')
    parts.append(
        f'<text transform="translate(14 {HEIGHT / 2}) rotate(-90)" text-anchor="middle">{escape(up)}</text>'
    )
    for number, (name, curve) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        shares = np.arange(1, curve.shape[1] + 1) / curve.shape[1]
        low, high = np.quantile(curve, [0.25, 0.75], axis=0)
        band = [place(s, v) for s, v in zip(shares, high, strict=True)]
        band += [place(s, v) for s, v in zip(shares[::-1], low[::-1], strict=True)]
        parts.append(f'<polygon points="{" ".join(band)}" fill="{colour}" fill-opacity="0.12"/>')
        line = " ".join(place(s, v) for s, v in zip(shares, curve.mean(axis=0), strict=True))
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        row, left = TOP + 16 + 20 * number, WIDTH - RIGHT + 14
        parts.append(
            f'<line x1="{left}" y1="{row}" x2="{left + 20}" y2="{row}" stroke="{colour}" stroke-width="2"/>'
        )
        parts.append(f'<text x="{left + 26}" y="{row}" dy="4">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>", ""])
