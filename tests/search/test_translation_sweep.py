"""A sweep whose students translate, from the trials' reports to what people see."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from rayduce.commands.app import app
from rayduce.commands.display import Display
from search.objectives.yardstick import Yardstick
from search.store.frames import records
from search.store.store import Store, open_store
from search.sweeps.trial_events import TrialEvents
from search.tracking.delivery import SWEEP
from search.tracking.record import Record
from search.tracking.values import signature_tags
from tests.stores import copy_blank, tracker
from trainables import methods
from trainables.metrics import METRICS, quality_of
from trainables.models import LSTM
from trainables.origins import Fresh
from trainables.recipe import MEMBERS, Recipe, canonical_json
from trainables.tasks.phrases import Phrases

RECIPE = methods.full_precision(methods.Setting(Phrases(), Fresh(LSTM()), epochs=2))
PHRASES = quality_of(RECIPE.task.metric)
COSTS = {
    "compression_ratio": 12.5,
    "onnx_bytes": 900_000,
    "ram_bytes": 65_536,
    "latency_ms": 4.25,
    "latency_beam_ms": 21.5,
    "macs": 3_000_000,
    "sparsity": 0.0,
    "mean_bits": 4.5,
    "parameters": 250_000,
}


class Silent:
    def changed(self, records: Any) -> None:
        pass


def epoch(number: int, bleu: float, packed_bytes: int, **more: Any) -> dict[str, Any]:
    """What a trial reports of an epoch; its perplexity is infinite in the first."""
    return {
        "epoch": number,
        "loss": 3.0 / number,
        "validation_bleu": bleu,
        "validation_chrf": bleu + 20,
        "validation_perplexity": float("inf") if number == 1 else 5.25,
        "packed_bytes": packed_bytes,
        "seconds": 1.5 * number,
        "state": "running",
        **more,
    }


def run(events: TrialEvents, trial_id: str, folder: Path, bleu: float, packed_bytes: int) -> None:
    """One trial of two epochs, as Ray would tell of it."""
    folder.mkdir(parents=True)
    (folder / "student.rdz").write_bytes(trial_id.encode())
    last = epoch(2, bleu, packed_bytes, **COSTS, state="finished", latency_machine="{}")
    config = {"recipe": canonical_json(RECIPE), "trial": trial_id}
    trial: Any = SimpleNamespace(trial_id=f"ray-{trial_id}", config=config)
    events.on_step_begin(0, [trial])
    events.on_trial_start(0, [], trial)
    events.on_trial_result(0, [], trial, epoch(1, bleu / 2, packed_bytes))
    events.on_trial_result(0, [], trial, last)
    events.ended(trial.trial_id, last, error=False)


@pytest.fixture(scope="module")
def folder(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one ended sweep of two students, of which one is on the front."""
    made = copy_blank(blank, tmp_path_factory.mktemp("translation") / "store")
    open_tracker = tracker(made, "phrases-1", "phrases")
    signatures = signature_tags(RECIPE.task.signatures())
    open_tracker.open({}, {"rayduce.metric": RECIPE.task.metric, **signatures})
    teacher = {"bleu": 36.0, "chrf": 60.0, "perplexity": 4.0}
    facts = {"teacher_packed_bytes": 100_000} | {f"teacher_{name}": value for name, value in teacher.items()}
    open_tracker.annotate(SWEEP, facts | {f"teacher_validation_{k}": v for k, v in teacher.items()}, {})
    events = TrialEvents(open_tracker, Silent(), Yardstick(PHRASES))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MEMBERS, "Phrases", Phrases)
        run(events, "t1", made / "trials" / "phrases-1" / "t1", 35.25, 8_000)
        run(events, "t2", made / "trials" / "phrases-1" / "t2", 30.0, 9_000)
    open_tracker.annotate("t1", {"bleu": 34.5, "chrf": 57.0, "perplexity": 5.5}, {"front": "true"})
    open_tracker.finish_sweep("finished", {}, {}, {})
    open_tracker.close()
    return made


@pytest.fixture
def store(folder: Path) -> Store:
    return open_store(folder)


def test_everything_reported_is_logged_and_everything_logged_is_known(store: Store) -> None:
    [row] = records(store.front("phrases-1"))
    assert row.items() >= {**COSTS, "bleu": 34.5, "chrf": 57.0, "perplexity": 5.5}.items()
    validation = {"validation_bleu": 35.25, "validation_chrf": 55.25, "validation_perplexity": 5.25}
    assert row.items() >= validation.items()
    history = store.history(row["run_id"])
    assert set(history.columns) <= {metric.name for metric in METRICS}
    assert history["validation_bleu"].tolist() == [17.625, 35.25]
    assert history["validation_chrf"].notna().all()
    assert history["validation_perplexity"].isna().tolist() == [True, False], "infinity is left out"


def test_the_runs_that_report_bleu_hold_its_signature(store: Store) -> None:
    expected = RECIPE.task.signatures()
    assert store.sweep("phrases-1").signatures == expected
    for run_id in store.trials("phrases-1")["run_id"]:
        tags = store._client.get_run(run_id).data.tags
        assert tags["signature.bleu"] == expected["bleu"]
        assert tags["signature.chrf"] == expected["chrf"]


def test_the_front_is_listed_in_bleu(folder: Path) -> None:
    done = CliRunner().invoke(app, ["front", "--store", str(folder)])
    assert done.exit_code == 0, done.output
    head, row = done.output.splitlines()[1:3]
    heads = ["run", "student", "BLEU", "validation", "packed", "ratio", "ONNX", "memory", "latency"]
    assert head.split() == heads
    assert row.split()[-6:] == ["900", "kB", "65.5", "kB", "4.250", "ms"]
    assert row.split()[-11:-6] == ["34.50", "35.25", "8", "kB", "12.5x"]
    assert "%" not in done.output
    assert f"bleu: {RECIPE.task.signatures()['bleu']}" in done.output


def test_the_front_as_json_has_bleu_and_what_is_beside_it(folder: Path) -> None:
    done = CliRunner().invoke(app, ["front", "phrases-1", "--json", "--store", str(folder)])
    [row] = json.loads(done.stdout)
    assert row.items() >= {"bleu": 34.5, "chrf": 57.0, "perplexity": 5.5, "latency_beam_ms": 21.5}.items()
    assert "accuracy" not in row and "validation_accuracy" not in row


def record(recipe: Recipe, quality: float) -> Record:
    metrics = {f"validation_{recipe.task.metric}": quality, "packed_bytes": 8_000, "compression_ratio": 12.5}
    return Record("t1", recipe, state="finished", metrics=metrics)


@pytest.mark.parametrize("terminal", [False, True])
def test_the_display_counts_in_points(terminal: bool) -> None:
    shown = io.StringIO()
    display = Display(Console(file=shown, force_terminal=terminal, width=120), "phrases-1", 1)
    with display:
        display.changed({"t1": record(RECIPE, 35.25)})
    assert "BLEU" in shown.getvalue()
    assert re.search(r"\b35\.25 +8 kB", shown.getvalue())
    assert "%" not in shown.getvalue()
    assert "1 trials" not in shown.getvalue()
