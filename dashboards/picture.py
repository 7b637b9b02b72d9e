"""The front as a picture, drawn by the Chromium or Chrome of this machine without a window."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pandas as pd
from plotly.offline import get_plotlyjs

from dashboards.figures.front import front_figure
from dashboards.figures.front_view import front_view
from dashboards.text import fit_sweep, fit_trials
from dashboards.theme import LIGHT, Theme
from search.store.sweep import Sweep

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
WIDTH, HEIGHT = 1200, 640
SECONDS = 60.0


class NoPicture(Exception):
    """No picture could be drawn; the message is one sentence that says what to do."""


def find_browser() -> str | None:
    """The path of a browser that can draw; None if there is none. ``RAYDUCE_BROWSER`` names another."""
    names = [os.environ["RAYDUCE_BROWSER"]] if "RAYDUCE_BROWSER" in os.environ else BROWSERS
    return next((path for name in names if (path := shutil.which(name))), None)


def front_png(trials: pd.DataFrame, sweep: Sweep, theme: Theme = LIGHT) -> bytes:
    """The figure of :func:`dashboards.figures.front.front_figure` as a PNG, twice as fine as a screen.

    Args:
        trials: as :meth:`search.store.store.Store.trials` returns them.
        sweep: theirs.
        theme: its colours.

    Raises:
        NoPicture: this machine has no Chromium or Chrome, or it fails.
    """
    browser = find_browser()
    if browser is None:
        raise NoPicture(
            "A picture is drawn by Chromium or Chrome, and neither is installed: install one "
            "(apt-get install chromium), or write --html instead."
        )
    trials, sweep = fit_trials(trials), fit_sweep(sweep)
    figure = front_figure(front_view([(sweep, trials)]), theme, height=HEIGHT, ids=False)
    figure.update_layout(width=WIDTH)
    plot = figure.to_html(full_html=False, include_plotlyjs=False, config={"staticPlot": True})
    page = (
        f"<!DOCTYPE html><meta charset='utf-8'><style>body{{margin:0;background:{theme.paper}}}</style>"
        f"<script>{get_plotlyjs()}</script>{plot}"
    )
    with tempfile.TemporaryDirectory(prefix="rayduce-") as scratch:
        source, target = Path(scratch) / "page.html", Path(scratch) / "front.png"
        source.write_text(page, encoding="utf-8")
        command = [
            browser,
            "--headless",
            "--disable-gpu-sandbox",
            "--use-gl=angle",
            "--use-angle=swiftshader",
            "--enable-unsafe-swiftshader",
            "--hide-scrollbars",
            "--disable-background-networking",
            "--no-first-run",
            f"--user-data-dir={scratch}/profile",
            "--force-device-scale-factor=2",
            f"--window-size={WIDTH},{HEIGHT}",
            "--virtual-time-budget=10000",
            f"--screenshot={target}",
            source.as_uri(),
        ]
        if os.geteuid() == 0:  # Chromium refuses to build its sandbox as root
            command.insert(1, "--no-sandbox")
        try:
            subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise NoPicture(f"{browser} drew nothing within {SECONDS:.0f} s; write --html instead.") from None
        if not target.exists():
            raise NoPicture(f"{browser} drew nothing; write --html instead.")
        return target.read_bytes()
