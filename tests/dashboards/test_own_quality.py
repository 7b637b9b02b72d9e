"""The pages over a sweep by a quality of one's own, of which less is better."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dashboards.app import create_app
from dashboards.axes import quality_axis
from dashboards.figures.compare import Side, compare
from dashboards.figures.front_view import limits_of, quality_range, staircase
from dashboards.figures.progress import corner_of, progress_data
from dashboards.live import Live
from dashboards.pages.trial import _lost, _scores
from dashboards.report import front_html
from dashboards.summary import cards, columns, footnote, front_rows
from search.objectives.budget import Budget
from search.objectives.choosing import choose, why_this
from search.store.store import open_store
from search.tracking.delivery import SWEEP
from tests.dashboards.browser import launched, opened, served
from tests.dashboards.frames import ACCURACY
from tests.stores import FACTS, RECIPE, add_trial, copy_blank, final, tracker
from trainables.metrics import own_quality, spelled

RMSE = own_quality("rmse", "down", label="RMSE", unit="m")
ERRORS = [0.90, 0.031, 0.0240, 0.0185, 0.0160, 0.0151, 0.0149, 0.0400, 0.0210, 0.0155]
SIZES = [700, 1_000, 2_000, 4_000, 9_000, 20_000, 40_000, 6_000, 8_000, 30_000]
ON_FRONT = [0, 1, 2, 3, 4, 5, 6]


@pytest.fixture(scope="module")
def store(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One sweep that ended: ten students, seven of them on the front."""
    folder = copy_blank(blank, tmp_path_factory.mktemp("own"))
    made = tracker(folder, "depth-1", "depth")
    made.open({"trials": 10, "max_drop": 0.02}, {"rayduce.metric": spelled(RMSE)})
    teacher = {"teacher_validation_rmse": 0.0148, "teacher_rmse": 0.0150, "teacher_packed_bytes": 100_000}
    made.annotate(SWEEP, teacher, {})
    methods = ("quantized_distillation", "learned_step_quantization")
    for number, (error, size) in enumerate(zip(ERRORS, SIZES, strict=True)):
        facts = {**FACTS, "bits": 2 + number % 4, "method": methods[number % 2]}
        recipe = {**RECIPE, "quantizer": {"type": "Uniform", "bits": 2 + number % 4}}
        add_trial(made, f"{number:05d}", final(error, size, "rmse"), recipe=recipe, facts=facts)
    for number in ON_FRONT[1:]:
        made.annotate(f"{number:05d}", {"rmse": 1.02 * ERRORS[number]}, {"front": "true"})
    made.finish_sweep("finished", {}, {}, {})
    made.close()
    return folder


def test_the_pages_say_why_there_is_no_interval(store: Path) -> None:
    found = open_store(store)
    sweep, trials = found.sweep("depth-1"), found.trials("depth-1")
    why = "No interval: a quality of your own is one number for all samples."
    assert why in footnote(sweep) and why in front_html(trials, sweep)
    best = trials.iloc[ON_FRONT[-1]].to_dict()
    assert _scores(RMSE, best, sweep) == f"0.01490 m validation · 0.01520 m test. {why}"
    assert _lost(best, sweep) == "0.00020 m on test"
    budget = Budget(max_drop=0.02)
    assert why in why_this(choose(trials, RMSE, sweep.teacher, budget, sweep.size), RMSE, budget)


def test_the_best_are_below(store: Path) -> None:
    found = open_store(store)
    sweep, trials = found.sweep("depth-1"), found.trials("depth-1")
    rows = front_rows(trials, sweep)
    assert [row["validation"] for row in rows] == [
        "0.03100 m", "0.02400 m", "0.01850 m", "0.01600 m", "0.01510 m", "0.01490 m",
    ]  # fmt: skip
    assert rows[0]["loss"] == "0.01662" and rows[-1]["loss"] == "0.00020"
    assert next(column.title for column in columns(RMSE) if column.key == "loss") == "Lost to the teacher, m"
    told = [(card.label, card.value) for card in cards(trials, sweep)]
    assert told[0] == ("Teacher, full precision", "0.01500 m")
    assert told[1] == ("Smallest within 1 m on validation", "143x smaller")
    assert limits_of(sweep) == {"validation_rmse": pytest.approx(0.0348)}
    steps = staircase(
        trials.assign(x=trials["packed_bytes"].astype(float), y=trials["validation_rmse"]), y_up=False
    )
    assert steps["y"].tolist() == [ERRORS[number] for number in ON_FRONT[1:]]


def test_the_axis_shows_what_is_chosen_from() -> None:
    flags = np.array([number in ON_FRONT for number in range(len(ERRORS))])
    low, high = quality_range(np.array(ERRORS), flags, quality_axis(RMSE), [0.0148])
    assert low < 0.0148 and 0.0290 < high < 0.05, "as far again as the best, and the untaught left out"
    up, down = quality_range(-np.array(ERRORS), flags, quality_axis(own_quality("gain")), [-0.0148])
    assert (-down, -up) == (low, high)
    assert quality_range(np.array([]), np.array([], dtype=bool), quality_axis(ACCURACY)) == (0.0, 100.0)
    assert quality_range(np.array([]), np.array([], dtype=bool), quality_axis(RMSE)) == (0.0, 1.0)


def test_the_hypervolume_grows_with_smaller_errors(store: Path) -> None:
    found = open_store(store)
    sweep, trials = found.sweep("depth-1"), found.trials("depth-1")
    volumes = progress_data(trials, sweep)["hypervolume"]
    within = trials["feasible"].tolist()
    assert volumes.is_monotonic_increasing and volumes.iloc[-1] > volumes.iloc[1] > 0
    assert within[:2] == [False, True] and volumes.iloc[0] == 0, "what is over the limits covers nothing"
    anyhow = progress_data(trials.assign(feasible=True), sweep)["hypervolume"]
    kept = 0.0148 / 0.90  # of a student of 700 B, sixty times the teacher's error, where the teacher has 1
    near = math.log2((1 + 0.01) / (1 - kept + 0.01))
    assert anyhow.iloc[0] == pytest.approx(math.log2(100_000 / 700) * near)
    assert corner_of(trials, sweep) == (100_000, 0.0148)


def test_two_methods_are_compared_by_their_least_errors(store: Path) -> None:
    found = open_store(store)
    sweep, trials = found.sweep("depth-1"), found.trials("depth-1")
    sides = [Side(name, sweep, trials[trials["method"] == name]) for name in trials["method"].unique()]
    table = compare(sides)
    assert [*table.sizes.loc[20.0]] == [0.0160, 0.0151]
    assert table.qualities.index[0] == 0.0149 and table.qualities.index.is_monotonic_increasing
    assert table.qualities.iloc[0].tolist()[0] == 40.0 and math.isnan(table.qualities.iloc[0].tolist()[1])


def test_the_page_to_keep_says_it(store: Path) -> None:
    found = open_store(store)
    page = front_html(found.trials("depth-1"), found.sweep("depth-1"))
    assert "Validation RMSE lost (m, logarithmic)" in page and "0.01850 m" in page and "Test RMSE" in page


def test_the_pages_open(store: Path) -> None:
    live = Live(open_store(store))
    live.read()
    with create_app(live).server.test_client() as client:
        assert client.get("/").status_code == 200


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    yield from launched()


@pytest.mark.slow
@pytest.mark.xdist_group("browser")
def test_every_view_shows_it_in_a_browser(browser: Any, store: Path, tmp_path: Path) -> None:
    with served(open_store(store)) as address:
        page, wrong = opened(browser, address)
        page.wait_for_selector("#front .points path.point:not([display='none'])")
        assert "Validation RMSE lost (m, logarithmic)" in page.locator("#front .ytitle").text_content()
        page.screenshot(path=tmp_path / "front.png", full_page=True)
        for view, ready in (
            ("Trial", "#curves .ytitle"),
            ("Progress", "#growth .ytitle"),
            ("Parameters", "#slice .scatterlayer path.point"),
            ("Compare", "#fronts .ytitle"),
        ):
            page.get_by_role("link", name=view, exact=True).click()
            page.wait_for_selector(ready)
            page.wait_for_timeout(300)
            page.screenshot(path=tmp_path / f"{view.lower()}.png", full_page=True)
            if view == "Progress":
                assert "what it loses to the teacher" in page.locator("#unit").text_content()
            if view == "Compare":
                assert "Smallest file at a given RMSE" in page.locator("#at").text_content()
        assert wrong == []
        page.context.close()
