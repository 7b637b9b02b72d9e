"""Questions that people come with, each answered within two clicks; and what a page owes everybody."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboards.report import front_html
from dashboards.where import where
from search.store.store import Store, open_store
from tests.dashboards.browser import launched, opened, pick, served
from tests.dashboards.recorded import recorded

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.slow]
AXE = Path(
    os.environ.get("RAYDUCE_AXE", Path(__file__).resolve().parents[2] / "build" / "axe" / "axe.min.js")
)
VIEWS = ("/", "/trial", "/trial/00004", "/trial/00005", "/progress", "/parameters", "/compare", "/pair")
PAIR = "/pair?left=00000&right=00001"
RINGED = "[...document.querySelector('#front .js-plotly-plot').data].find((each) => each.name === 'To ship')"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    yield from launched()


@pytest.fixture(scope="module")
def store(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return open_store(recorded(blank, tmp_path_factory.mktemp("decide") / "store"))


@pytest.fixture(scope="module")
def address(store: Store) -> Iterator[str]:
    with served(store) as address:
        yield address


def run_of(store: Store, trial: str) -> str:
    frame = store.trials("digits-1")
    return str(frame.loc[frame["trial_id"] == trial, "run_id"].iloc[0])


def test_which_file_do_you_ship_under_16_kb_and_what_do_you_lose(
    browser: Any, address: str, store: Store
) -> None:
    page, wrong = opened(browser, address)
    page.fill("#ship-drop", "")
    # The first answer is the last one too: only the one between tells that a question was answered.
    page.wait_for_selector("#ship .answer:has-text('40 kB')")
    page.fill("#ship-bytes", "16")
    page.wait_for_selector("#ship .answer:has-text('15 kB')")
    text = page.locator("#ship").inner_text()
    assert "97.90 % (96.8" in text and "0.10 points (" in text, "the value and its interval"
    assert f"rayduce export {run_of(store, '00002')[:8]} student.rdz --store" in text
    page.wait_for_function(f"{RINGED}?.x[0] === 15")
    assert page.locator("tr.shipped").count() == 1
    with page.expect_download() as download:
        page.locator("#ship").get_by_role("link", name="Download").click()
    assert download.value.path().read_bytes() == b"00002"
    assert wrong == []
    page.context.close()


def test_a_link_shows_what_was_seen(browser: Any, address: str) -> None:
    page, _ = opened(browser, address)
    page.wait_for_selector("#ship .answer")
    page.fill("#ship-drop", "5")
    page.wait_for_selector("#ship .answer:has-text('9 kB')")
    page.wait_for_url(re.compile("sweep=digits-1.*max-drop=5|max-drop=5.*sweep=digits-1"))
    assert page.title() == "Front · digits-1 · Rayduce"
    other, _ = opened(browser, page.url)
    other.wait_for_selector("#ship .answer:has-text('9 kB')")
    assert other.input_value("#ship-drop") == "5"
    for each in (page, other):
        each.context.close()


def test_which_mistakes_and_two_students(browser: Any, address: str) -> None:
    page, wrong = opened(browser, address)
    page.wait_for_selector("table.front tbody tr")
    for trial in ("00001", "00002"):
        page.get_by_label(f"Compare trial {trial}").check()
    page.get_by_role("link", name="Compare the two ticked").click()
    page.wait_for_selector("text=is better on these 1,000 samples")
    text = page.locator("#view").inner_text()
    for part in ("Their mistakes on the test split", "+67 %", "2 samples only qd-00001", "12 only qd-00002"):
        assert part in text
    assert page.locator("#mistakes .js-plotly-plot").count() == 2
    assert wrong == []
    page.context.close()


@pytest.mark.parametrize(
    ("view", "answers"),
    [
        ("/progress", ("Too few trials to say", "it is number 4 of 4", "ValueError: no room")),
        ("/compare", ("Of each the first", "Hypervolume")),
        ("/parameters", ("rial",)),
    ],
)
def test_is_it_done_why_ended_method_against_method_what_matters(
    browser: Any, address: str, view: str, answers: tuple[str, ...]
) -> None:
    page, wrong = opened(browser, address + view)
    for answer in answers:
        page.wait_for_selector(f"#view >> text={answer}")
    assert wrong == []
    page.context.close()


def test_a_phone_has_the_figure_and_no_way_sideways(browser: Any, address: str) -> None:
    page, wrong = opened(browser, address)
    page.set_viewport_size({"width": 390, "height": 844})
    page.reload()
    page.wait_for_selector("#front .plot-container")
    page.wait_for_selector("table.front tbody tr")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("#front").bounding_box()["height"] >= 0.6 * 844
    assert not page.locator("#x").is_visible(), "the menus are folded"
    assert wrong == []
    page.context.close()


def test_a_laptop_shows_figure_legend_and_answer_without_scrolling(browser: Any, address: str) -> None:
    page, _ = opened(browser, address)
    page.wait_for_selector("#front .legend")
    page.wait_for_selector("#ship .answer")
    for part in ("#front .plot-container", "#front .legend", "#ship"):
        box = page.locator(part).bounding_box()
        assert box["y"] + box["height"] <= 800, part
    page.context.close()


def test_mistakes_are_pictures_and_two_clicks_away(browser: Any, address: str, store: Store) -> None:
    page, wrong = opened(browser, address)
    page.locator("table.front").get_by_role("link", name="00001").click()
    page.wait_for_selector("#samples img")
    page.wait_for_function(
        "[...document.querySelectorAll('#samples img')].every((each) => each.naturalWidth)"
    )
    assert page.locator("#samples figure").count() == 14
    page.locator("#layers").get_by_text("head").first.wait_for()  # it comes by an answer of its own
    page.goto(address + with_runs(PAIR, store))
    pick(page, "#part", "73 to 90 of 90")
    page.wait_for_function("document.querySelectorAll('#samples figure').length === 18")
    assert wrong == []
    page.context.close()


def test_a_traceback_is_two_clicks_away(browser: Any, address: str) -> None:
    page, wrong = opened(browser, address)
    page.get_by_role("link", name="Progress").click()
    page.locator("#reasons").get_by_role("link", name="00005").click()
    page.wait_for_selector("pre:has-text('ValueError: no room <b>')")
    assert page.locator(".js-plotly-plot:visible").count() == 0, "no empty charts"
    assert wrong == []
    page.context.close()


def test_keys_alone_reach_menus_boxes_and_limits(browser: Any, address: str) -> None:
    page, wrong = opened(browser, address)
    page.wait_for_selector("table.front tbody tr")
    page.wait_for_function("document.querySelector('#x').tabIndex === 0")
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.type"))
    assert {"sweep", "toggle", "x", "y", "scale", "checkbox", "ship-bytes", "ship-drop", "both"} <= reached
    page.locator("#scale").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=listbox]:visible, .dash-dropdown-content")
    page.keyboard.press("Escape")
    assert page.locator("#scale").get_attribute("aria-labelledby").startswith("label-scale ")
    assert wrong == []
    page.context.close()


def with_runs(view: str, store: Store) -> str:
    """An address with run ids for the names of trials."""
    return re.sub(r"\b0000\d\b", lambda found: run_of(store, found[0]), view)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_serious_fault_of_accessibility(
    browser: Any, address: str, store: Store, scheme: str, tmp_path: Path
) -> None:
    if not AXE.exists():
        pytest.skip("axe-core is not there: make browser fetches it")
    offline = tmp_path / "front.html"
    offline.write_text(front_html(store.trials("digits-1"), store.sweep("digits-1"), where(store)))
    found = {}
    for view in (*(address + with_runs(each, store) for each in (*VIEWS, PAIR)), offline.as_uri()):
        page, _ = opened(browser, view, color_scheme=scheme, bypass_csp=True)  # the offline page's own
        page.wait_for_timeout(3000)
        page.evaluate(AXE.read_text())
        result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        serious = [each for each in result["violations"] if each["impact"] in ("serious", "critical")]
        for each in serious:
            found[view, each["id"]] = [node["html"][:120] for node in each["nodes"][:3]]
        page.context.close()
    assert found == {}
