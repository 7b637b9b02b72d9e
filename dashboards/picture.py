"""The front as a picture for a paper or a talk, drawn by the Chromium or Chrome of this machine."""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from dashboards.figures.front import front_figure
from dashboards.figures.front_marks import FRONT
from dashboards.figures.front_view import first_scale, front_view
from dashboards.text import fit_sweep, fit_trials
from dashboards.theme import LIGHT, Theme
from search.store.sweep import Sweep

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
KINDS = ("png", "svg", "pdf")
"""What a picture can be: the suffix of its file."""
WIDTH, HEIGHT = 460, 340
"""Pixels. In a column of 8.6 cm the letters are 7 points tall."""
FONT = 12
FINER = 4
"""Pixels of a PNG for each of these."""
SECONDS = 60.0


class NoPicture(Exception):
    """No picture could be drawn; the message is one sentence that says what to do."""


def find_browser() -> str | None:
    """The path of a browser that can draw; None if there is none. ``RAYDUCE_BROWSER`` names another."""
    names = [os.environ["RAYDUCE_BROWSER"]] if "RAYDUCE_BROWSER" in os.environ else BROWSERS
    return next((path for name in names if (path := shutil.which(name))), None)


def paper_figure(trials: pd.DataFrame, sweep: Sweep, theme: Theme = LIGHT) -> go.Figure:
    """The figure of a front for paper: no hints for a mouse, letters and marks that fit a column.

    Only methods on the front are in the legend; what is lost is shown, where the teacher is known
    and a student of the front loses anything.

    Args:
        trials: as :meth:`search.store.store.Store.trials` returns them.
        sweep: theirs.
        theme: its colours.
    """
    trials, sweep = fit_trials(trials), fit_sweep(sweep)
    view = front_view([(sweep, trials)], scale=first_scale(sweep, trials))
    figure = front_figure(view, theme, height=HEIGHT, ids=False, still=True)
    shown = {trace.legendgroup for trace in figure.data if trace.marker.size == FRONT and trace.legendgroup}
    for trace in figure.data:
        if trace.legendgroup and trace.legendgroup.isdecimal() and trace.legendgroup not in shown:
            trace.showlegend = False
        if trace.mode == "markers" and isinstance(trace.marker.size, int | float):
            trace.marker.size = 0.68 * trace.marker.size
        if trace.text is not None:
            trace.textfont.size = 0.85 * FONT
    figure.update_layout(
        width=WIDTH,
        height=HEIGHT,
        font={"size": FONT},
        margin={"l": 52, "r": 12, "t": 8, "b": 44},
        legend={"font": {"size": 0.85 * FONT}, "entrywidth": 0, "tracegroupgap": 2, "itemwidth": 30},
    )
    for axis in (figure.layout.xaxis, figure.layout.yaxis):
        axis.title.text = axis.title.text.replace(" = 1000 bytes", "").replace(", logarithmic", "")
    figure.update_xaxes(title={"font": {"size": FONT}, "standoff": 6}, tickfont={"size": 0.92 * FONT})
    figure.update_yaxes(title={"font": {"size": FONT}, "standoff": 4}, tickfont={"size": 0.92 * FONT})
    return figure


def front_picture(trials: pd.DataFrame, sweep: Sweep, kind: str, theme: Theme = LIGHT) -> bytes:
    """The figure of :func:`paper_figure` as a file.

    Args:
        trials: as :meth:`search.store.store.Store.trials` returns them.
        sweep: theirs.
        kind: ``png`` (four times as fine as a screen), ``svg`` or ``pdf`` (both are drawn of lines).
        theme: its colours.

    Raises:
        NoPicture: this machine has no Chromium or Chrome, or it fails.
        ValueError: there is no such ``kind``.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind=}")
    browser = find_browser()
    if browser is None:
        raise NoPicture(
            "A picture is drawn by Chromium or Chrome, and neither is installed: install one "
            "(apt-get install chromium), or write --html instead."
        )
    return _drawn(browser, _page(paper_figure(trials, sweep, theme), kind, theme), kind)


def _drawn(browser: str, page: str, kind: str) -> bytes:
    """What the browser makes of a page."""
    with tempfile.TemporaryDirectory(prefix="rayduce-") as scratch:
        source, target = Path(scratch) / "page.html", Path(scratch) / f"front.{kind}"
        source.write_text(page, encoding="utf-8")
        command = _command(browser, kind, scratch, source, target)
        try:
            done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise NoPicture(f"{browser} drew nothing within {SECONDS:.0f} s; write --html instead.") from None
        if kind == "svg":
            text = done.stdout.decode("utf-8", "replace")
            if found := re.search(r"<pre>(data:image/svg\+xml,.*?)</pre>", text, re.DOTALL):
                return unquote(html.unescape(found[1]).partition(",")[2]).encode()
        elif target.exists():
            return target.read_bytes()
        raise NoPicture(f"{browser} drew nothing; write --html instead.")


def _command(browser: str, kind: str, scratch: str, source: Path, target: Path) -> list[str]:
    answers = {"png": f"--screenshot={target}", "pdf": f"--print-to-pdf={target}", "svg": "--dump-dom"}
    return [
        browser,
        *(["--no-sandbox"] if os.geteuid() == 0 else []),  # Chromium refuses to build its sandbox as root
        "--headless",
        "--disable-gpu-sandbox",
        "--use-gl=angle",
        "--use-angle=swiftshader",
        "--enable-unsafe-swiftshader",
        "--hide-scrollbars",
        "--disable-background-networking",
        "--no-first-run",
        "--no-pdf-header-footer",
        f"--user-data-dir={scratch}/profile",
        f"--force-device-scale-factor={FINER if kind == 'png' else 1}",
        f"--window-size={WIDTH},{HEIGHT}",
        "--virtual-time-budget=10000",
        answers[kind],
        source.as_uri(),
    ]


def _page(figure: go.Figure, kind: str, theme: Theme) -> str:
    """A page that draws the figure, or of an SVG shows its text."""
    plot = figure.to_html(
        full_html=False, include_plotlyjs=False, config={"staticPlot": True}, div_id="front"
    )
    wanted = f'{{format: "svg", width: {WIDTH}, height: {HEIGHT}}}'
    script = (
        f'<script>Plotly.toImage("front", {wanted}).then((text) => {{'
        ' const pre = document.createElement("pre"); pre.textContent = text;'
        " document.body.replaceChildren(pre); });</script>"
    )
    return (
        f"<!DOCTYPE html><meta charset='utf-8'><style>@page {{size: {WIDTH}px {HEIGHT}px; margin: 0}} "
        f"body{{margin:0;background:{theme.paper}}}</style><script>{get_plotlyjs()}</script>{plot}"
        f"{script if kind == 'svg' else ''}"
    )
