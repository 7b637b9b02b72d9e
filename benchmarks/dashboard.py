"""What the pages cost at 10,000 trials: reading, first paint, reactions, the offline page, memory.

    python -m benchmarks.dashboard --out results.md

Reading and figures are told in seconds of the clock and of the processor: on a busy machine only the second
means much. The browser is the system's Chromium without a window, drawing by software.
"""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.synthetic_store import write_store

PAINTED = """() => {
  const plot = document.querySelector('#front .js-plotly-plot');
  return plot && plot._fullData?.length > 3 && plot.querySelector('.gl-canvas, .points path');
}"""
POINT = """() => {
  const plot = document.querySelector('#front .js-plotly-plot'), {xaxis, yaxis} = plot._fullLayout;
  const at = plot.getBoundingClientRect(), area = plot.querySelector('.nsewdrag').getBoundingClientRect();
  for (const trace of plot._fullData) {
    if (!trace.customdata || trace.visible !== true || !(trace.mode || '').includes('markers')) continue;
    for (let i = 0; i < trace.x.length; i++) {
      const x = at.x + xaxis._offset + xaxis.d2p(trace.x[i]);
      const y = at.y + yaxis._offset + yaxis.d2p(trace.y[i]);
      const inside = x > area.left + 40 && x < area.right - 40 && y > area.top + 20 && y < area.bottom - 20;
      if (inside) return [x, y];
    }
  }
}"""
"""Where on the page a mark is that can be pointed at."""
WATCH = """([event, done]) => {
  window.took = null;
  addEventListener(event, () => {
    const begun = performance.now(), changed = eval(done);
    const look = () => changed() ? requestAnimationFrame(() => setTimeout(drawn)) : setTimeout(look, 5);
    const drawn = () => { window.took = performance.now() - begun; };
    look();
  }, { capture: true, once: true });
}"""
"""Takes the time in the page: finding and reaching what is clicked takes a robot longer than the page."""
REPETITIONS = 5
EARLIER_VISITS = 3
"""After these a browser keeps the scripts as it has compiled them."""
SETTLE_MS = 1500
POLL_MS = 20
"""Between two looks. Waiting for each frame would make the browser draw 60 a second, in software."""


def main() -> None:
    """Parse the command line, measure, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--store", type=Path, help="a store that write_store made; default a new one")
    parser.add_argument("--out", type=Path, help="Markdown file; default standard output")
    parser.add_argument("--part", choices=("reading", "browser"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rayduce-") as scratch:
        folder = given.store or Path(scratch)
        if given.store is None:
            write_store(folder, given.trials)
        if given.part:
            print("\n".join(PARTS[given.part](folder)))
            return
        # Each part in a process of its own, so that the size of one is not that of the other.
        rows = []
        for part in PARTS:
            command = [sys.executable, "-m", "benchmarks.dashboard", "--part", part, "--store", str(folder)]
            rows += subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    head = [
        f"# The pages at {given.trials:,} trials",
        "",
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}; "
        f"load average {os.getloadavg()[0]:.1f} at the end. `python -m benchmarks.dashboard`.",
        "",
        "| what | clock | processor |",
        "|---|---|---|",
    ]
    text = "\n".join([*head, *rows]) + "\n"
    if given.out:
        given.out.write_text(text, encoding="utf-8")
    print(text)


def reading(folder: Path) -> list[str]:
    """Reading the store, the view's data and figure, the offline page, and the size of the process."""
    from dashboards.app import create_app
    from dashboards.figures.front import front_figure
    from dashboards.figures.front_view import front_view
    from dashboards.figures.progress import progress_data
    from dashboards.live import Live
    from dashboards.report import front_html
    from search.objectives.importance import free, importance_spread
    from search.store.store import open_store

    store = open_store(folder)
    live = Live(store)
    create_app(live)
    sweep = store.sweep()
    rows = [_row("first reading of every trial", *_timed(lambda: store.trials(sweep.name)))]
    rows.append(_row("reading when nothing is new", *_median(lambda: store.trials(sweep.name))))
    rows.append(
        _row("reading one new epoch of 10 trials", *_median(lambda: store.trials(sweep.name), _touch(folder)))
    )
    trials = store.trials(sweep.name)
    view = front_view([(sweep, trials)])
    rows.append(_row("data of the front", *_median(lambda: front_view([(sweep, trials)]))))
    rows.append(_row("figure of the front, as JSON", *_median(lambda: front_figure(view).to_json())))
    rows.append(_row("hypervolume after each trial", *_median(lambda: progress_data(trials, sweep))))
    page: list[str] = []
    rows.append(_row("offline page", *_timed(lambda: page.append(front_html(trials, sweep)))))
    rows.append(f"| size of the offline page | {len(page[0].encode()) / 1e6:.2f} MB | |")
    rows.append(f"| size of the process so far | {_resident():.0f} MB | |")
    finished = trials[(trials["state"] == "finished").to_numpy(dtype=bool)].set_index("run_id")
    kept: list[Any] = []
    rows.append(
        _row("parameters of every trial", *_timed(lambda: kept.append(free(store.parameters(sweep)))))
    )
    parameters = kept[0].loc[finished.index]
    for name in ("validation_accuracy", sweep.size):
        what = f"importance of parameters for {name}, with whiskers"
        rows.append(_row(what, *_timed(partial(importance_spread, parameters, finished[name]))))
    rows.append(f"| size of the process after the parameters | {_resident():.0f} MB | |")
    return rows


def browser(folder: Path) -> list[str]:
    """First paint, hover, click and filter in Chromium; medians of five."""
    from playwright.sync_api import sync_playwright

    from dashboards.app import bind
    from dashboards.live import Live
    from dashboards.picture import find_browser
    from search.store.store import open_store

    live = Live(open_store(folder))
    live.read()
    live.trials(live.sweeps[0])
    server = bind(live, port=0)
    threading.Thread(target=server.run, daemon=True).start()
    address = f"http://127.0.0.1:{server.port}"
    options: Any = {
        "executable_path": find_browser(),
        "args": ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"],
    }
    window: Any = {"viewport": {"width": 1280, "height": 800}}
    found: dict[str, list[float]] = {}
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as profile:
        chromium = playwright.chromium.launch(**options)
        for _ in range(REPETITIONS):
            context = chromium.new_context(**window)
            page = context.new_page()
            found.setdefault("first paint of the front, empty cache", []).append(_paint(page, address))
            for name, seconds in _visit(page).items():
                found.setdefault(name, []).append(seconds)
            context.close()
        chromium.close()
        kept = playwright.chromium.launch_persistent_context(profile, **options, **window)
        paints = []
        for _ in range(EARLIER_VISITS + REPETITIONS):
            page = kept.new_page()
            paints.append(_paint(page, address))
            page.wait_for_timeout(SETTLE_MS)
            page.close()
        found["first paint of the front, in a browser that was here before"] = paints[EARLIER_VISITS:]
        kept.close()
    server.stop()
    return [f"| {name} | {_seconds(statistics.median(times))} | |" for name, times in found.items()]


def _paint(page: Any, address: str) -> float:
    """Seconds from asking for the page to the front's marks."""
    page.set_default_timeout(60_000)
    begun = time.perf_counter()
    page.goto(address)
    page.wait_for_function(PAINTED, polling=POLL_MS)
    return time.perf_counter() - begun


def _visit(page: Any) -> dict[str, float]:
    """What a user does once, each with the seconds from the act to the first frame of the changed picture."""
    times: dict[str, float] = {}

    def took(name: str, act: Callable[[], object], done: str, event: str = "pointerdown") -> None:
        page.evaluate(WATCH, [event, done])
        act()
        times[name] = page.wait_for_function("window.took", polling=POLL_MS).json_value() / 1000

    page.wait_for_load_state("networkidle")  # what follows is about a page that has come to rest
    page.wait_for_timeout(SETTLE_MS)
    x, y = page.evaluate(POINT)
    page.mouse.move(x - 30, y - 15)
    page.wait_for_timeout(SETTLE_MS)
    shown = "() => document.querySelector('#front .hoverlayer .hovertext')"
    took("hover to the text", lambda: page.mouse.move(x, y), shown, "pointermove")
    plot = "document.querySelector('#front .js-plotly-plot')"
    hidden = f"() => {plot}._fullData.some(trace => trace.visible === 'legendonly')"
    took("a method hidden by its legend", page.locator("#front .legendtoggle").first.click, hidden)
    page.wait_for_timeout(SETTLE_MS)
    first = "document.querySelector('th[aria-sort=ascending]')"
    took(
        "the table sorted",
        page.get_by_role("button", name="Bits").click,
        f"() => {first} && {first}.textContent.startsWith('Bits')",
    )
    page.evaluate("scrollTo(0, 0)")  # the head of the table may have been below the fold
    page.wait_for_timeout(SETTLE_MS)
    x, y = page.evaluate(POINT)
    page.mouse.move(x, y)
    page.wait_for_timeout(SETTLE_MS)
    # The front has a list of facts, too: that of the student to ship.
    opened = (
        "() => location.pathname.startsWith('/trial/') && document.querySelector('dl.facts:not(.ship *)')"
    )
    took("click to the trial", lambda: page.mouse.click(x, y), opened)
    return times


PARTS = {"reading": reading, "browser": browser}


def _touch(folder: Path) -> Callable[[], None]:
    """Writes one epoch of ten trials, as a sweep does."""
    database = sqlite3.connect(folder / "mlflow.db")
    ids = [row[0] for row in database.execute("SELECT run_uuid FROM runs ORDER BY start_time DESC LIMIT 10")]
    step = 100

    def write() -> None:
        nonlocal step
        step += 1
        with database:
            for run_id in ids:
                database.execute(
                    "INSERT INTO metrics (key, value, timestamp, step, run_uuid, is_nan) "
                    "VALUES ('loss', 0.1, ?, ?, ?, 0)",
                    (step, step, run_id),
                )
                database.execute(
                    "UPDATE latest_metrics SET value = 0.1, step = ? WHERE key = 'loss' AND run_uuid = ?",
                    (step, run_id),
                )

    return write


def _timed(work: Callable[[], object]) -> tuple[float, float]:
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - processor


def _median(work: Callable[[], object], before: Callable[[], object] = lambda: None) -> tuple[float, float]:
    times = []
    for _ in range(REPETITIONS):
        before()
        times.append(_timed(work))
    return statistics.median(t[0] for t in times), statistics.median(t[1] for t in times)


def _row(name: str, clock: float, processor: float) -> str:
    return f"| {name} | {_seconds(clock)} | {_seconds(processor)} |"


def _seconds(value: float) -> str:
    return f"{1000 * value:.0f} ms" if value < 1 else f"{value:.2f} s"


def _resident() -> float:
    """Megabytes of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()
