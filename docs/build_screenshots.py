"""Draws every view of a store, light and dark, on a phone, a laptop and a screen: ``make screenshots``.

Look at them: no test sees what is ugly.
"""

from __future__ import annotations

import argparse
import itertools
import threading
from pathlib import Path
from string import Formatter

from playwright.sync_api import sync_playwright

from dashboards.app import bind
from dashboards.live import Live
from dashboards.picture import find_browser
from dashboards.theme import THEMES
from search.store.store import open_store

VIEWS = {
    "front": ("/", "front"),
    "trial": ("/trial", "curves"),
    "progress": ("/progress", "growth"),
    "parameters": ("/parameters", "importance"),
    "compare": ("/compare", "fronts"),
    "pair": ("/pair?left={smaller}&right={larger}", "confused-0"),
    "failed": ("/trial/{failed}", ""),
}
"""Address, and the figure that is drawn once the view is there; none of a trial that failed."""
DRAWN = "name => document.querySelector(`#${name} .js-plotly-plot`)?._fullData?.length"
ARGUMENTS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
SETTLE_MS = 1500
SIZES = {390: 844, 1280: 800, 1920: 1080}
"""Widths and heights of a phone, a laptop and a screen."""


def runs(live: Live) -> dict[str, str]:
    """Run ids by what stands for them in an address, as far as the newest sweep has such trials."""
    sweep = live.sweep(None)
    if sweep is None:
        return {}
    trials = live.trials(sweep)
    front = [str(run) for run in trials[trials["front"]].sort_values(sweep.size)["run_id"]]
    failed = [str(run) for run in trials[trials["state"].eq("failed").fillna(False)]["run_id"]]
    middle = max((len(front) - 2) // 2, 0)
    found = dict(zip(("smaller", "larger"), front[middle:][:2], strict=False))
    return found | ({"failed": failed[0]} if failed else {})


def main() -> None:
    """Parse the command line and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", type=Path, default=Path("rayduce-store"))
    parser.add_argument("--out", type=Path, default=Path("screenshots"))
    parser.add_argument("--views", nargs="+", choices=VIEWS, default=list(VIEWS))
    parser.add_argument("--widths", nargs="+", type=int, choices=SIZES, default=list(SIZES))
    parser.add_argument("--themes", nargs="+", choices=THEMES, default=list(THEMES))
    parser.add_argument("--fold", action="store_true", help="draw what is seen without scrolling")
    parser.add_argument("--timeout", type=float, default=60, help="seconds to wait for a view")
    given = parser.parse_args()
    path = find_browser()
    if path is None:
        parser.error("Chromium is not installed: apt-get install chromium")
    given.out.mkdir(parents=True, exist_ok=True)
    live = Live(open_store(given.store))
    server = bind(live, port=0)
    live.start()
    threading.Thread(target=server.run, daemon=True).start()
    known = runs(live)
    views = [name for name in given.views if all(key in known for key in _needed(VIEWS[name][0]))]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        for theme, width in itertools.product(given.themes, given.widths):
            size = {"width": width, "height": SIZES[width]}
            context = browser.new_context(viewport=size, color_scheme=theme)
            page = context.new_page()
            for name in views:
                address, ready = VIEWS[name]
                page.goto(f"http://127.0.0.1:{server.port}{address.format(**known)}")
                if ready:
                    page.wait_for_function(DRAWN, arg=ready, timeout=1000 * given.timeout)
                page.wait_for_load_state("networkidle")
                page.wait_for_timeout(SETTLE_MS)
                target = given.out / f"{name}-{theme}-{width}.png"
                page.screenshot(path=target, full_page=not given.fold)
                print(target)
            context.close()
        browser.close()
    server.stop()
    live.stop()


def _needed(address: str) -> list[str]:
    return [name for _, name, _, _ in Formatter().parse(address) if name]


if __name__ == "__main__":
    main()
