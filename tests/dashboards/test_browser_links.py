"""What addresses ask for, in a real browser over a store with several sweeps: a link shows what it names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from search.store.store import open_store
from search.tracking.delivery import SWEEP
from tests.dashboards.browser import launched, opened, pick, served
from tests.stores import add_trial, copy_blank, final, tracker

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.slow]
CHOSEN = "#sweep:has-text('{}')"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    yield from launched()


@pytest.fixture(scope="module")
def folder(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with an older sweep and a newer one, whose students differ in size."""
    folder = copy_blank(blank, tmp_path_factory.mktemp("links"))
    for name, size in (("older", 1_000), ("newer", 2_000)):
        made = tracker(folder, name)
        made.open({}, {"rayduce.metric": "accuracy"})
        made.annotate(SWEEP, {"teacher_validation_accuracy": 0.95, "teacher_packed_bytes": 90_000}, {})
        add_trial(made, "00000", final(0.9, size), tags={"front": "true"})
        add_trial(made, "00001", final(0.8, size + 5_000))
        made.finish_sweep("finished", {}, {}, {})
        made.close()
    return folder


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with served(open_store(folder)) as address:
        yield address


@pytest.mark.parametrize("view", ["/", "/progress", "/parameters", "/compare"])
def test_a_link_opens_the_sweep_that_it_names(browser: Any, address: str, view: str) -> None:
    page, wrong = opened(browser, f"{address}{view}?sweep=older")
    page.wait_for_selector("h1:has-text('older')")
    page.wait_for_selector(CHOSEN.format("older"))
    page.wait_for_timeout(500)  # Dash puts its own address back while a page begins
    assert re.search(r"[?&]sweep=older(&|$)", page.url)
    assert page.locator("#unknown").inner_text() == ""
    if view == "/":
        page.wait_for_selector("table.front td:has-text('1 kB')")
    assert wrong == []
    page.context.close()


def test_a_link_wins_over_what_the_tab_showed_before(browser: Any, address: str) -> None:
    page, wrong = opened(browser, address)
    page.wait_for_selector("h1:has-text('newer')")
    pick(page, "#sweep", "older")
    page.wait_for_selector("h1:has-text('older')")
    page.goto(f"{address}/?sweep=newer")
    page.wait_for_selector("h1:has-text('newer')")
    page.wait_for_selector(CHOSEN.format("newer"))
    page.wait_for_selector("table.front td:has-text('2 kB')")
    assert wrong == []
    page.context.close()


def test_a_sweep_that_is_not_there_is_told_until_another_is_chosen(browser: Any, address: str) -> None:
    page, wrong = opened(browser, f"{address}/compare?sweep=nonsense")
    page.wait_for_selector("#unknown:has-text('There is no sweep named nonsense in this store')")
    page.wait_for_selector(CHOSEN.format("newer"))
    pick(page, "#sweep", "older")
    page.wait_for_selector("h1:has-text('older')")
    page.wait_for_function("document.querySelector('#unknown').textContent === ''")
    assert wrong == []
    page.context.close()


def test_a_link_to_a_trial_shows_its_sweep_in_the_menu(browser: Any, address: str, folder: Path) -> None:
    run_id = open_store(folder).trials("older")["run_id"].iloc[0]
    page, wrong = opened(browser, f"{address}/trial/{run_id}")
    page.wait_for_selector("#trial-head >> text=of older")
    page.wait_for_selector(CHOSEN.format("older"))
    page.wait_for_url(re.compile("sweep=older"))
    assert wrong == []
    page.context.close()
