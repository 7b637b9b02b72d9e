"""How sure the difference of two students is that stand side by side."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dashboards.pages.pair import _apart, _difference, _different, _Side
from search.objectives.on_split import OnSplit
from search.store.answers import TRUE
from search.store.mlflow_client import StoreError
from tests.trainables.metrics.test_evidence import given, kept, logits, sentences
from trainables.metrics import quality_of
from trainables.predictions import Answers, predictions_json, student_json


def sides(
    name: str, teacher: Answers, left: Answers, right: Answers, **metrics: float
) -> tuple[Any, Any, Any]:
    """A store that keeps them, and the two students."""
    true = {} if teacher.true is None else {f"test{TRUE}": teacher.true}
    files = {"left": student_json({"test": left}), "right": student_json({"test": right})}
    files["sweep"] = predictions_json(true)
    store = SimpleNamespace(download=lambda run, _: files[run])
    sweep: Any = SimpleNamespace(run_id="sweep", quality=quality_of(name), teacher=metrics)
    left_side, right_side = (_Side(sweep, {"run_id": run}) for run in ("left", "right"))
    return SimpleNamespace(store=store), left_side, right_side


def test_more_bleu_is_more_and_what_is_sure_of_it_stands_in_brackets() -> None:
    translations, references = sentences(60, 0)
    right = [*references[:30], *translations[30:]]
    both = [kept("bleu", each, references) for each in (translations, right)]
    found = _difference(*sides("bleu", Answers(), *both), "test")
    assert found is not None and 0 < found.low < found.high
    quality = quality_of("bleu")
    text = _apart([OnSplit("test", quality, 40.0), OnSplit("test", quality, 60.0)], found)
    assert text == f"+20 points ({found.low:.2f} to {found.high:.2f})"
    assert _difference(*sides("bleu", Answers(), *both), "validation") is None


def test_fewer_errors_are_a_difference_below_zero() -> None:
    outputs, targets = given("mean_absolute_error")
    both = [kept("mean_absolute_error", each, targets) for each in (3 * outputs, targets.astype(np.float32))]
    found = _difference(*sides("mean_absolute_error", Answers(), *both), "test")
    assert found is not None and found.low < found.high < 0


def test_areas_and_shares_need_the_true_classes() -> None:
    outputs, true = logits(200, 3, 0)
    worse = outputs + np.random.default_rng(0).normal(size=outputs.shape).astype(np.float32)
    both = [kept("area_under_curve", each, true) for each in (outputs, worse)]
    found = _difference(*sides("area_under_curve", Answers(None, true), *both), "test")
    assert found is not None and found.high < 0
    assert _difference(*sides("area_under_curve", Answers(), *both), "test") is None
    shares = _difference(*sides("accuracy", Answers(None, true), *both, samples=200.0), "test")
    assert shares is not None and -1 < shares.low < shares.high < 1
    assert _difference(*sides("accuracy", Answers(None, true[:9]), *both, samples=200.0), "test") is None


def test_of_two_sweeps_and_of_what_is_not_kept_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    both = [kept("bleu", *sentences(9, seed)) for seed in (0, 1)]
    live, left, right = sides("bleu", Answers(), *both)
    other: Any = SimpleNamespace(**{**vars(right.sweep), "run_id": "other"})
    assert _difference(live, left, _Side(other, right.row), "test") is None

    def refuse(run: str, name: str) -> bytes:
        raise StoreError("There is no such file.")

    monkeypatch.setattr(live.store, "download", refuse)
    assert _difference(live, left, right, "test") is None


def test_students_that_were_trained_along_are_named_by_their_method() -> None:
    peer = {"type": "Recipe", "method": "mutual_learning", "quantizer": {"type": "Uniform", "bits": 4}}
    rows = _different({"peers": [peer], "seed": 1}, {"peers": [peer, peer], "seed": 1})
    assert rows == [("peers", "mutual_learning", "mutual_learning, mutual_learning")]
    assert _different({"exempt": []}, {"exempt": ["out"]}) == [("exempt", "none", "out")]


def test_a_training_of_more_phases_is_told_phase_by_phase_and_no_word_is_cut() -> None:
    first = {"type": "Phase", "epochs": 3, "optimizer": {"type": "AdamW", "learning_rate": 0.01}}
    rows = _different({"phases": [first]}, {"phases": [{**first, "epochs": 2}, first]})
    assert rows == [
        ("phases.0.epochs", "3", "2"),
        ("phases.1", "\N{EN DASH}", "Phase epochs 3, optimizer AdamW learning_rate 0.01"),
    ]
    words = [f"word{i}" for i in range(100)]
    [(_, _, told)] = _different({"exempt": []}, {"exempt": words})
    *shown, end = told.split(" ")
    assert end == "\N{HORIZONTAL ELLIPSIS}" and len(told) <= 300
    assert [word.rstrip(",") for word in shown] == words[: len(shown)] and len(shown) > 30
