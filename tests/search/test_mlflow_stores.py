"""Users find the same in a file, on a server and in PostgreSQL, and by the searches in the README."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from typer.testing import CliRunner

from rayduce.commands.app import app
from search.objectives.aliases import ALIASES
from search.store.store import open_store
from search.sweeps.publish import publish
from search.tracking import courier
from search.tracking.delivery import SWEEP
from search.tracking.tracker import SweepTracker
from tests.search.servers import Server
from tests.search.small_sweep import FRONT, STUDENTS, conclude, open_sweep, run_trial, small_sweep

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()
KIND = "tags.`rayduce.kind` = 'trial'"


def uri_of(kind: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """The tracking URI of an empty store of that kind."""
    return f"sqlite:///{folder / 'mlflow.db'}" if kind == "sqlite" else str(request.getfixturevalue(kind).uri)


def everything(client: MlflowClient) -> dict[str, tuple[Any, ...]]:
    """Every run by its trial, as plain values."""
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert len(runs) == len(STUDENTS) + 1
    found = {run.data.tags.get("rayduce.trial_id", SWEEP): run for run in runs}
    return {
        key: (run.info.status, run.info.end_time, run.data.tags, run.data.params, run.data.metrics)
        for key, run in found.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "server", "postgresql"])
def test_every_store_says_what_runs_are(
    kind: str, request: pytest.FixtureRequest, folder: Path, tmp_path: Path
) -> None:
    uri = uri_of(kind, request, folder)
    small_sweep(uri, folder)
    client = MlflowClient(uri, registry_uri=uri)
    runs = everything(client)
    tags = {key: values[2] for key, values in runs.items()}

    assert {key for key in tags if tags[key].get("front") == "true"} == set(FRONT)
    assert {key for key in tags if tags[key].get("front") == "false"} == {"00000", "00002", "00004"}
    assert {key for key in tags if tags[key].get("feasible") == "false"} == {"00004"}
    states = {key: tags[key]["state"] for key in tags if key != SWEEP}
    assert states == {f"{i:05d}": planned[1] for i, planned in enumerate(STUDENTS)}
    for key, planned in enumerate(STUDENTS):
        trial = tags[f"{key:05d}"]
        assert (trial["method"], trial["sweep"]) == (planned[0].method, "digits-1") and "study" not in trial
        note = trial["mlflow.note.content"]
        assert note.splitlines()[-1].startswith(planned[0].method.replace("_", " ").capitalize())
    notes = {key: trial["mlflow.note.content"] for key, trial in tags.items()}
    assert notes["00001"].startswith("**89.00 % test accuracy in 4 kB, 25 times smaller")
    assert "&lt;b&gt;" in notes["00006"] and "<" not in notes["00006"]
    assert "over the sweep's limits" in notes["00004"]
    parent = tags[SWEEP]
    assert (parent["study"], parent["sweep"], parent["state"]) == ("digits", "digits-1", "finished")
    assert parent["mlflow.note.content"].count("\n| ") == 1 + len(FRONT)
    assert runs[SWEEP][4]["front_size"] == 3 and runs["00001"][4]["latency_ms"] == 0.125

    store = open_store(folder, uri)
    sweep = store.sweep()
    assert set(store.front()["trial_id"]) == set(FRONT) and store.front()["trial_id"].tolist() == FRONT
    rows = list(csv.DictReader(io.StringIO(store.download(sweep.run_id, "front.csv").decode())))
    assert [row["trial"] for row in rows] == FRONT and [row["packed_bytes"] for row in rows] == [
        "4000", "7900", "16000",
    ]  # fmt: skip
    settings = json.loads(store.download(sweep.run_id, "settings.json"))
    assert settings["settings"]["limits"] == {"packed_bytes": 30_000} and settings["parameters"]["bits"]
    assert str(tmp_path) not in json.dumps(settings)
    assert store.download(sweep.run_id, "front.html") == b"<html>digits-1"
    assert store.artifact_location(sweep.run_id, "front.csv").startswith(
        "mlflow-artifacts:" if kind == "server" else str(folder)
    )

    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    try:
        alias = "models:/rayduce-digits@measured-within-1-point"
        path = Path(mlflow.artifacts.download_artifacts(alias, dst_path=str(tmp_path / "got")))
        assert (path / "student.rdz").read_bytes() == b"00003" * 3
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
        mlflow.set_registry_uri(None)  # type: ignore[arg-type]
    assert store.registered(alias) == store.find_run(store.registered(alias))["run_id"]
    out = tmp_path / "s.rdz"
    done = CliRunner().invoke(app, ["export", alias, str(out), "--store", str(folder), "--tracking-uri", uri])
    assert done.exit_code == 2 and "packed file" in done.output, done.output  # found, and no real student

    versions = [dict(v) for v in client.search_model_versions("name = 'rayduce-digits'")]
    again = SweepTracker(uri, folder, "digits", "digits-1")
    again.folder.delivered.unlink()
    again.open({}, {"rayduce.metric": "accuracy"}, resume=True)
    again.flush()
    again.abandon()
    assert everything(client) == runs, "what is delivered twice is there once"
    assert [dict(v) for v in client.search_model_versions("name = 'rayduce-digits'")] == versions


@pytest.mark.slow
def test_what_a_server_lacks_of_the_end_arrives_later(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is gone when the sweep ends: no version, no page, until somebody delivers."""
    monkeypatch.setattr(courier, "FIRST_PAUSE_SECONDS", 0.1)
    store = tmp_path / "store"
    sweep, events, about = open_sweep(server.uri, store)
    for number, planned in enumerate(STUDENTS):
        run_trial(events, sweep, number, planned)
    sweep.flush()
    server.kill()
    conclude(sweep, events, about)
    assert "rayduce deliver digits-1" in publish(sweep, "digits-1", lambda name: "<html>", timeout=1)
    sweep.abandon()

    server.start()
    client = MlflowClient(server.uri, registry_uri=server.uri)
    assert client.search_registered_models() == []
    for _ in range(2):
        later = SweepTracker(server.uri, store, "digits", "digits-1")
        later.open({}, {"rayduce.metric": "accuracy"}, resume=True)
        assert publish(later, "digits-1", lambda name: "<html>") == ""
        run_ids = later.run_ids
        later.abandon()
    # These trials left no predictions.
    unsure = {alias for alias in ALIASES if not alias.startswith("surely")}
    assert set(client.get_registered_model("rayduce-digits").aliases) == unsure
    smallest = client.get_model_version_by_alias("rayduce-digits", "smallest")
    assert smallest.run_id == run_ids["00001"]
    assert len(client.search_model_versions("name = 'rayduce-digits'")) == 3
    [parent] = client.search_runs(["1"], "tags.study = 'digits'")
    assert {f.path for f in client.list_artifacts(parent.info.run_id)} == {
        "front.csv", "front.html", "settings.json",
    }  # fmt: skip


@pytest.fixture(scope="module")
def filled(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store ``rayduce-store`` as README's examples have it."""
    from tests.stores import copy_blank

    folder = copy_blank(blank, tmp_path_factory.mktemp("searches") / "rayduce-store")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    small_sweep(uri, folder, "digits-1")
    small_sweep(uri, folder, "digits-2", STUDENTS[:1])
    return folder.parent


Wanted = Callable[[Run], bool]


def is_trial(run: Run) -> bool:
    return str(run.data.tags["rayduce.kind"]) == "trial"


def of(run: Run) -> tuple[str, float, int]:
    """State, validation accuracy and bytes that were planned."""
    planned = STUDENTS[int(run.data.tags["rayduce.trial_id"])]
    return planned[1], planned[2], planned[3]


def feasible(run: Run) -> bool:
    return is_trial(run) and of(run)[0] == "finished" and of(run)[2] <= 30_000


def recipe(run: Run) -> Any:
    return STUDENTS[int(run.data.tags["rayduce.trial_id"])][0]


EXPECTED: list[Wanted] = [
    lambda run: is_trial(run) and run.data.tags["sweep"] == "digits-1"
    and run.data.tags["rayduce.trial_id"] in FRONT,
    lambda run: feasible(run) and recipe(run).method == "quantized_distillation",
    lambda run: is_trial(run) and recipe(run).method == "post_training_quantization",
    lambda run: is_trial(run) and of(run)[0] == "finished" and getattr(recipe(run).quantizer, "bits", 0) == 4,
    lambda run: feasible(run) and of(run)[2] <= 20_000 and of(run)[1] > 0.9,
    lambda run: is_trial(run) and of(run)[0] == "failed",
    lambda run: is_trial(run) and of(run)[0] == "pruned",
    lambda run: is_trial(run) and getattr(recipe(run).quantizer, "bucket_size", 0) == 256,
    lambda run: not is_trial(run),
]  # fmt: skip
"""What README's searches find, in its order, by what was planned and not by tags."""


def searches() -> list[str]:
    section = README.partition("\n## MLflow\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[2] for line in section.splitlines() if line.startswith("| ")][1:]
    return [query for row in rows for query in re.findall(r"`([^`]*)`", row)]


def test_the_searches_in_the_readme_find_what_they_say(filled: Path) -> None:
    client = MlflowClient(f"sqlite:///{filled / 'rayduce-store' / 'mlflow.db'}")
    [experiment] = client.search_experiments(filter_string="name = 'rayduce-digits'")
    runs = client.search_runs([experiment.experiment_id])
    assert len(searches()) == len(EXPECTED)
    for query, wanted in zip(searches(), EXPECTED, strict=True):
        found = {run.info.run_id for run in client.search_runs([experiment.experiment_id], query)}
        assert found == {run.info.run_id for run in runs if wanted(run)}, query
        assert found and len(found) < len(runs), query


def test_the_program_in_the_readme_runs(
    filled: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [program] = [p for p in re.findall(r"```python\n(.*?)```", README, re.S) if "mlflow.search_runs" in p]
    monkeypatch.chdir(filled)
    names: dict[str, Any] = {}
    try:
        exec(program, names)
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]
    front: pd.DataFrame = names["front"]
    assert front["tags.rayduce.trial_id"].tolist() == FRONT
    assert front["metrics.packed_bytes"].is_monotonic_increasing
    assert all(run_id in capsys.readouterr().out for run_id in front["run_id"][:1])
