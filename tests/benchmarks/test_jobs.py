"""What the tables share: budgets, shares of data, trainings in any number of processes, orderings."""

from __future__ import annotations

import functools
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.jobs import Job, Settings, run_all, teacher_job, thinned
from benchmarks.report import LABELS, Layout, chain, markdown, orderings
from trainables import methods
from trainables.metrics import quality_of
from trainables.models import ConvNet
from trainables.origins import Fresh
from trainables.tasks import Digits


@given(st.lists(st.text()), st.floats(0.01, 1.0), st.floats(0.01, 1.0))
def test_smaller_shares_lie_within_larger_ones(names: list[str], one: float, other: float) -> None:
    smaller, larger = thinned(names, min(one, other)), thinned(names, max(one, other))
    assert set(smaller) <= set(larger) <= set(range(len(names)))
    assert larger == sorted(set(larger))
    if names:
        assert len(larger) == max(1, round(max(one, other) * len(names)))


@given(st.sets(st.text(), min_size=1), st.floats(0.01, 1.0), st.randoms())
def test_what_is_kept_does_not_depend_on_the_order(names: set[str], share: float, random: object) -> None:
    ordered = sorted(names)
    shuffled = list(ordered)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    kept = {ordered[i] for i in thinned(ordered, share)}
    assert kept == {shuffled[i] for i in thinned(shuffled, share)}


@given(st.floats(1e-4, 1.0))
def test_shares_of_data_and_epochs_make_up_the_budget(budget: float) -> None:
    settings = Settings((3,), (0,), budget, "cpu")
    assert settings.data_share * settings.epoch_share == pytest.approx(budget)
    assert settings.data_share >= settings.epoch_share


@pytest.mark.parametrize(
    "settings",
    [
        ((3,), (0,), 0.0, "cpu"),
        ((3,), (0,), 1.5, "cpu"),
        ((0,), (0,), 1.0, "cpu"),
        ((), (0,), 1.0, "cpu"),
        ((3,), (), 1.0, "cpu"),
        ((3,), (0,), 1.0, "tpu"),
    ],
)
def test_settings_out_of_range_are_refused(
    settings: tuple[tuple[int, ...], tuple[int, ...], float, str],
) -> None:
    with pytest.raises(ValueError, match="got"):
        Settings(*settings)


def layout(name: str, published: dict[tuple[int, str, int], float]) -> Layout:
    rows = {"fp": (32,), "kd": (32,), "pm": (2,), "pm256": (2,), "qd": (2,), "dq": (2,)}
    return Layout(quality_of(name), rows, (*chain((2,)), (("qd", 2), ("dq", 2))), published)


def cell(method: str, bits: int, seed: int, **numbers: float | None) -> dict[str, object]:
    return {"student": 3, "method": method, "bits": bits, "seed": seed, "packed_bytes": 1000, **numbers}


def test_orderings_count_the_seeds_that_have_both_sides() -> None:
    cells = [cell("qd", 2, seed, test_accuracy=value) for seed, value in enumerate((0.50, 0.40, 0.9))]
    cells += [cell("dq", 2, seed, test_accuracy=value) for seed, value in enumerate((0.45, 0.41))]
    printed = {(3, "qd", 2): 67.02, (3, "dq", 2): 57.84}
    rows = orderings(cells, layout("accuracy", printed), [3])
    found = {row["claim"]: row for row in rows}
    row = found[f"{LABELS['qd']}, 2 bits > {LABELS['dq']}, 2 bits"]
    assert (row["seeds"], row["agree"]) == (2, 1)
    assert math.isclose(row["mean_difference"], 2.0, abs_tol=1e-9)  # of 5 and -1 points
    assert math.isclose(row["deviation"], math.sqrt(18))
    assert math.isclose(row["published_difference"], 67.02 - 57.84)
    empty = found[f"{LABELS['kd']} > {LABELS['fp']}"]
    assert (empty["mean_difference"], empty["deviation"], empty["published_difference"]) == (None,) * 3
    assert len(rows) == 5


def test_a_table_shows_each_quality_with_its_spread_and_what_is_published() -> None:
    cells = [
        cell("qd", 2, seed, test_bleu=20.0 + 2 * seed, test_chrf=50.0, test_perplexity=9.0) for seed in (0, 1)
    ]
    cells.append(cell("kd", 32, 0, test_bleu=30.0, test_chrf=60.0, test_perplexity=None))
    text = markdown(cells, layout("bleu", {(3, "kd", 32): 31.5}), {3: "small"})
    rows = [line for line in text.splitlines() if line.startswith("| small | QD, bucket 256 |")]
    assert [row.split("|")[3].strip() for row in rows] == [
        "21.00 ± 1.41",
        "50.00 ± 0.00",
        "9.00 ± 0.00",
        "1,000",
    ]
    assert "| small | full precision, distilled |  | 30.00 (31.5) |" in text
    assert "| small | full precision, distilled |  | - |" in text  # its perplexity was not finite
    assert "perplexity, lower is better" in text


def _open(path: Path, job: Job) -> None:
    path.read_bytes()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failing_training_is_not_swallowed(tmp_path: Path, workers: int) -> None:
    recipe = methods.full_precision(methods.Setting(Digits(), Fresh(ConvNet()), epochs=1))
    with pytest.raises(FileNotFoundError, match="missing"):
        run_all([teacher_job(recipe, 1)], functools.partial(_open, tmp_path / "missing"), tmp_path, workers)
