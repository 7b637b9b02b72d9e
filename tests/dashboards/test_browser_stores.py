"""The pages in a real browser over stores as people have them: a large one, a sweep that runs, a server."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.dashboard import PAINTED, POINT
from benchmarks.synthetic_store import write_store
from search.store.store import open_store
from search.tracking.tracker import SweepTracker
from tests.dashboards.browser import launched, opened, pick, served, settled
from tests.search.servers import Server
from tests.stores import add_trial, final, tracker

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.slow]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    yield from launched()


def test_ten_thousand_trials_are_drawn_sorted_listed_and_opened(browser: Any, tmp_path: Path) -> None:
    write_store(tmp_path, 10_000)
    with served(open_store(tmp_path)) as address:
        page, wrong = opened(browser, address)
        page.wait_for_function(PAINTED)
        page.wait_for_selector(".card:has-text('Trials') >> text=10000")
        page.get_by_role("button", name="Front only").click()
        page.wait_for_selector("#listed:has-text('All that ended')")
        listed = int(re.sub(r"\D", "", page.locator("#listed").inner_text()))
        assert listed > 9_000
        page.wait_for_selector(f".turn:has-text('1 to 25 of {listed:,}')")
        for _ in range(2):  # without a pause: each counts
            page.get_by_role("button", name="Later").click()
        page.wait_for_selector(f".turn:has-text('51 to 75 of {listed:,}')")
        page.get_by_role("button", name=re.compile("^Size")).click()
        page.wait_for_selector("th[aria-sort=descending] >> text=Size")
        page.wait_for_selector(f".turn:has-text('1 to 25 of {listed:,}')")
        settled(page)
        page.evaluate("scrollTo(0, 0)")  # the head of the table may have been below the fold
        x, y = page.evaluate(POINT)
        page.mouse.move(x, y)
        page.wait_for_selector("#front .hoverlayer .hovertext")
        page.mouse.down()
        page.mouse.up()
        page.wait_for_url(re.compile(r"/trial/[0-9a-f]{32}$"))
        page.wait_for_selector("dl.facts")
        page.go_back()
        page.wait_for_function(PAINTED)
        assert wrong == []
        page.context.close()


def test_a_real_sweep_grows_on_an_open_page(browser: Any, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "rayduce.commands.app",
        "sweep",
        "digits",
        "--trials",
        "3",
        "--epochs",
        "2",
    ]
    command += ["--scheduler", "none", "--name", "watched", "--store", str(tmp_path)]
    # The store is there before the page asks for it, as it is for whoever has one sweep already.
    made = tracker(tmp_path, "earlier")
    made.open({}, {"rayduce.metric": "accuracy"})
    made.finish_sweep("finished", {}, {}, {})
    made.close()
    with served(open_store(tmp_path)) as address:
        page, wrong = opened(browser, address)
        page.wait_for_selector("h1:has-text('earlier')")
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        sweep = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            page.set_default_timeout(240_000)
            pick(page, "#sweep", "watched")
            page.wait_for_selector(".state-running")
            page.wait_for_selector(".card:has-text('Trials') >> text=3 finished")
            page.wait_for_selector(".state-finished")
            said, _ = sweep.communicate(timeout=240)
        finally:
            sweep.kill()
            sweep.wait()
        assert sweep.returncode == 0, said
        page.wait_for_selector("table.front tbody tr")
        found = open_store(tmp_path)
        front = found.front("watched")
        cells = page.locator("table.front tbody tr td.main").all_inner_texts()
        assert len(cells) == len(front), json.dumps(cells)
        assert wrong == []
        page.context.close()


def test_an_mlflow_server_that_goes_away_is_told_and_comes_back(browser: Any, tmp_path: Path) -> None:
    server = Server(tmp_path)
    server.start()
    try:
        sweep = SweepTracker(server.uri, tmp_path, "digits", "digits-1")
        sweep.open({}, {"rayduce.metric": "accuracy"})
        add_trial(sweep, "00000", final(0.9, 1_000))
        sweep.flush()
        with served(open_store(tmp_path, server.uri)) as address:
            page, _ = opened(browser, address)
            page.wait_for_selector(".card:has-text('Trials') >> text=1 finished")
            server.kill()
            page.wait_for_selector("#problem:has-text('Cannot read the MLflow store')")
            assert page.locator("#front .points path.point").count() > 0, "what was read stays"
            server.start()
            add_trial(sweep, "00001", final(0.95, 2_000))
            page.wait_for_selector(".card:has-text('Trials') >> text=2 finished")
            page.wait_for_function("document.querySelector('#problem').textContent === ''")
            page.context.close()
        sweep.finish_sweep("finished", {}, {}, {})
        sweep.close()
    finally:
        server.kill()
