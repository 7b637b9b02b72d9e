"""What a user does, in a real browser. One browser for all; every test has pages of its own."""

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboards.report import front_html
from search.store.store import Store, open_store
from search.tracking.delivery import SWEEP
from tests.dashboards.browser import PATIENCE_MS, launched, opened, pick, served, settled
from tests.dashboards.frames import sweep, trials
from tests.stores import FACTS, RECIPE, add_trial, copy_blank, final, tracker

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.slow]
HOSTILE = "<script>window.hit=1</script><img src=x onerror='window.hit=1'>"
DOT = "#front .points path.point:not([display='none'])"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    yield from launched()


@pytest.fixture(scope="module")
def folder(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one sweep of twelve trials, full of hostile strings."""
    folder = copy_blank(blank, tmp_path_factory.mktemp("browser"))
    open_sweep = tracker(folder)
    open_sweep.open({"trials": 13, "limits": {"packed_bytes": 90_000}}, {"rayduce.metric": "accuracy"})
    open_sweep.annotate(SWEEP, {"teacher_validation_accuracy": 0.98, "teacher_packed_bytes": 100_000}, {})
    for i in range(12):
        facts = {**FACTS, "bits": 2 + i % 4, "method": HOSTILE if i == 3 else "quantized_distillation"}
        name = HOSTILE if i in (3, 4) else None
        quantizer = {"type": HOSTILE if i == 5 else "Uniform", "bits": 2 + i % 4}
        add_trial(
            open_sweep,
            f"{i:05d}",
            final(0.7 + 0.02 * i, 1_000 * (i + 1)),
            name=name,
            recipe={**RECIPE, "quantizer": quantizer},
            facts=facts,
        )
    add_trial(open_sweep, "00012", {}, state="failed", tags={"reason": HOSTILE}, name=HOSTILE)
    open_sweep.finish_sweep("finished", {}, {}, {})
    open_sweep.close()
    return folder


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with served(open_store(folder)) as address:
        yield address


def test_every_view_opens_light_and_dark_without_an_error(browser: Any, address: str) -> None:
    for scheme in ("light", "dark"):
        page, wrong = opened(browser, address, color_scheme=scheme)
        page.wait_for_selector(DOT)
        assert page.evaluate("document.documentElement.dataset.theme") == scheme
        for view, ready in (
            ("Trial", "#curves .ytitle"),
            ("Progress", "#growth .ytitle"),
            ("Parameters", "#slice .scatterlayer path.point"),
            ("Compare", "#fronts .ytitle"),
            ("Front", DOT),
        ):
            page.get_by_role("link", name=view, exact=True).click()
            page.wait_for_selector(ready)
        assert wrong == []
        assert page.evaluate("window.hit") is None
        page.context.close()


def test_light_and_dark_are_kept(browser: Any, address: str) -> None:
    page, _ = opened(browser, address, color_scheme="light")
    page.wait_for_selector(DOT)
    page.get_by_role("button", name="Light / dark").click()
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    page.reload()
    page.wait_for_selector(DOT)
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.context.close()


def test_hover_tells_and_click_opens_the_trial(browser: Any, address: str, folder: Path) -> None:
    page, wrong = opened(browser, address)
    page.wait_for_selector(DOT)
    settled(page)
    box = page.locator(DOT).nth(5).bounding_box()  # the last is the teacher
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    text = page.locator("#front .hoverlayer .hovertext").text_content()
    assert "buckets of 256" in text and "kB" in text
    page.mouse.down()
    page.mouse.up()
    page.wait_for_url(re.compile(r"/trial/[0-9a-f]{32}$"))
    run_id = page.url[-32:]
    page.wait_for_selector(f"text=rayduce export {run_id} student.rdz")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the packed file").click()
    assert download.value.path().read_bytes() == open_store(folder).download(run_id, "student.rdz")
    assert wrong == []
    page.context.close()


def groups_shown(page: Any) -> list[str]:
    return list(
        page.evaluate(
            "[...new Set(document.querySelector('#front .js-plotly-plot')._fullData"
            ".filter(trace => trace.visible === true && trace.legendgroup).map(trace => trace.name))]"
        )
    )


def test_a_click_on_the_legend_hides_at_once_and_two_show_a_group_alone(browser: Any, address: str) -> None:
    page, wrong = opened(browser, address)
    page.wait_for_selector(DOT)
    before = groups_shown(page)
    first, *others = before
    named = [each.get_attribute("data-unformatted") for each in page.locator("#front .legendtext").all()]
    toggle = page.locator("#front .legendtoggle").nth(named.index(first))
    page.evaluate(
        "window.waits = []; const set = window.setTimeout;"
        "window.setTimeout = (work, wait, ...rest) => (window.waits.push(wait), set(work, wait, ...rest));"
    )
    toggle.click()
    page.wait_for_function(
        "name => document.querySelector('#front .js-plotly-plot')._fullData"
        ".some(trace => trace.name === name && trace.visible !== true)",
        arg=first,
    )
    assert groups_shown(page) == others
    assert 500 not in page.evaluate("window.waits"), "Plotly's wait for a second click"
    page.wait_for_timeout(700)
    toggle.click()
    page.wait_for_timeout(700)
    assert groups_shown(page) == before
    for expected in ([first], before):  # alone, and then all again
        toggle.dblclick(delay=50)
        page.wait_for_timeout(700)
        assert groups_shown(page) == expected
    assert wrong == []
    page.context.close()


def test_the_sweep_on_show_stays_after_a_reload(browser: Any, blank: Path, tmp_path: Path) -> None:
    folder = copy_blank(blank, tmp_path / "two")

    def make(name: str, size: int) -> None:
        made = tracker(folder, name)
        made.open({}, {"rayduce.metric": "accuracy"})
        add_trial(made, "00000", final(0.9, size))
        made.finish_sweep("finished", {}, {}, {})
        made.close()

    make("first", 1_000)
    make("second", 2_000)
    with served(open_store(folder)) as address:
        page, wrong = opened(browser, address)
        page.wait_for_selector("h1:has-text('second')")
        pick(page, "#sweep", "first")
        page.wait_for_selector("h1:has-text('first')")
        make("third", 3_000)
        page.locator("#sweep").click()
        page.get_by_role("option", name="third").wait_for()
        page.keyboard.press("Escape")
        page.reload()
        page.wait_for_selector(DOT)
        page.wait_for_selector("h1:has-text('first')")
        page.wait_for_selector("table.front td:has-text('1 kB')")
        assert page.locator("#front .xtitle").text_content().startswith("Packed size")
        assert wrong == []
        page.context.close()


def test_lasso_chooses_what_the_table_lists_and_csv_holds(browser: Any, address: str) -> None:
    page, wrong = opened(browser, address)
    page.wait_for_selector(DOT)
    settled(page)
    assert page.locator("table.front tbody tr").count() == 12
    page.locator("#front .modebar-btn[data-title='Lasso Select']").click(force=True)
    area = page.locator("#front .nsewdrag").first.bounding_box()
    left, top = area["x"], area["y"]
    right, bottom = left + 0.45 * area["width"], top + area["height"]
    page.mouse.move(left + 2, top + 2)
    page.mouse.down()
    for x, y in ((right, top + 2), (right, bottom - 2), (left + 2, bottom - 2), (left + 2, top + 2)):
        page.mouse.move(x, y, steps=4)
    page.mouse.up()
    page.wait_for_selector("#listed:has-text('Selected')")
    count = int(re.findall(r"\d+", page.locator("#listed").inner_text())[0])
    assert 0 < count < 12
    page.wait_for_function(f"document.querySelectorAll('table.front tbody tr').length === {count}")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    assert len(download.value.path().read_text().splitlines()) == count + 1
    page.get_by_role("button", name="Clear selection").click()
    page.wait_for_selector("#listed:has-text('On the sweep')")
    assert wrong == []
    page.context.close()


def test_everything_is_reached_by_keyboard(browser: Any, address: str) -> None:
    page, _ = opened(browser, address)
    page.wait_for_selector("table.front tbody tr")
    page.get_by_role("button", name="Validation accuracy", exact=True).focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("th[aria-sort='ascending'] >> text=Validation accuracy")
    page.wait_for_function("document.activeElement.id.includes('validation_accuracy')")
    page.keyboard.press("Enter")
    page.wait_for_selector("th[aria-sort='descending'] >> text=Validation accuracy")
    page.get_by_role("link", name="00011", exact=True).focus()
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/trial/"))
    page.context.close()


WRITER = """
import sys
from pathlib import Path
from tests.stores import add_trial, final, tracker

sweep = tracker(Path(sys.argv[1]), "live-1")
sweep.open({"trials": 3}, {"rayduce.metric": "accuracy"})
for i in range(2):
    sys.stdin.readline()
    add_trial(sweep, f"{i:05d}", final(0.8 + 0.1 * i, 1_000 * (i + 1)))
    sweep.flush()
    print("written", flush=True)
sys.stdin.readline()
sweep.finish_sweep("finished", {}, {}, {})
sweep.close()
"""


def test_a_running_sweep_grows_on_two_pages_at_once(browser: Any, blank: Path, tmp_path: Path) -> None:
    folder = copy_blank(blank, tmp_path / "live")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")]),
    }
    with served(open_store(folder)) as address:
        pages = [opened(browser, address), opened(browser, address, color_scheme="dark")]
        for page, _ in pages:
            page.wait_for_selector("text=rayduce sweep digits")
        follower, followed = opened(browser, f"{address}/trial")
        follower.wait_for_selector("text=Nothing is on show yet")
        writer = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WRITER), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert writer.stdin is not None and writer.stdout is not None
        try:
            for i in (1, 2):
                writer.stdin.write("\n")
                writer.stdin.flush()
                assert writer.stdout.readline() == "written\n"
                for page, _ in pages:
                    page.wait_for_function(
                        "([dot, n]) => document.querySelectorAll(dot).length === n", arg=[DOT, i]
                    )
                    page.wait_for_selector(f".card:has-text('Trials') >> text={i} finished")
                # The better of the two, with its own recipe below.
                follower.wait_for_selector(f"#trial-head >> text=Trial {i - 1:05d}")
                follower.wait_for_function(
                    "n => document.querySelectorAll('#recipe details').length === 1"
                    " && document.querySelector('#trial-head').textContent.includes(`Trial 0000${n}`)",
                    arg=i - 1,
                )
            writer.stdin.write("\n")
            writer.stdin.close()
            assert followed == []
            follower.context.close()
            for page, wrong in pages:
                page.wait_for_selector(".state-finished")
                assert wrong == []
                page.context.close()
        finally:
            writer.kill()
            writer.wait()


class Flaky(Store):
    """A store that can be out of reach."""

    gone = False

    def all_sweeps(self) -> Any:
        if self.gone:
            self._ask(lambda: (_ for _ in ()).throw(ConnectionRefusedError("refused")))
        return super().all_sweeps()


def test_a_store_that_goes_away_is_told_and_comes_back(browser: Any, folder: Path) -> None:
    whole = open_store(folder)
    store = Flaky(whole._client, whole.tracking_uri, folder)
    with served(store) as address:
        page, _ = opened(browser, address)
        page.wait_for_selector(DOT)
        store.gone = True
        page.wait_for_selector("#problem:has-text('Cannot read the MLflow store')")
        assert page.locator(DOT).count() > 0, "what was read stays"
        store.gone = False
        page.wait_for_function("document.querySelector('#problem').textContent === ''", timeout=PATIENCE_MS)
        page.context.close()


def test_the_offline_page_opens_without_a_network(browser: Any, tmp_path: Path) -> None:
    frame = trials({"name": HOSTILE, "front": True}, {"method": HOSTILE, "packed_bytes": 900, "front": True})
    path = tmp_path / "front.html"
    path.write_text(front_html(frame, sweep(name=HOSTILE)), encoding="utf-8")
    page, wrong = opened(browser, path.as_uri(), offline=True)
    page.wait_for_selector(DOT)
    assert page.locator("table.front:not(.others) tbody tr").count() == 2
    assert page.evaluate("window.hit") is None
    assert wrong == []
    page.context.close()


def test_no_page_is_wider_than_a_phone(browser: Any, address: str, folder: Path) -> None:
    run_id = open_store(folder).trials("digits-1")["run_id"].iloc[0]
    page, wrong = opened(browser, address)
    page.set_viewport_size({"width": 390, "height": 800})
    for path in ("/", f"/trial/{run_id}", "/progress", "/parameters", "/compare"):
        page.goto(address + path)
        page.wait_for_selector(".js-plotly-plot .main-svg", state="attached")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
    assert not wrong
