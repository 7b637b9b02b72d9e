import json
import math
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from search.store.mlflow_client import StoreError
from search.tracking.delivery import SWEEP
from search.tracking.tracker import SweepExists, SweepTracker, TrackingError
from search.tracking.values import flatten
from tests.stores import FACTS, RECIPE, add_trial, kept, tracker

TAGS = {"rayduce.metric": "accuracy"}


@pytest.fixture
def opened(folder: Path) -> Iterator[SweepTracker]:
    sweep = tracker(folder)
    sweep.open({"trials": 3}, TAGS)
    yield sweep
    gate = getattr(sweep, "gate", None)
    if gate is not None:
        gate.set()
    sweep.close()


def runs(folder: Path) -> dict[str, Run]:
    """All runs in the store by name, as MLflow itself tells them."""
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiments = [e.experiment_id for e in client.search_experiments()]
    return {run.info.run_name: run for run in client.search_runs(experiments)}


def files(run: Run) -> dict[str, bytes]:
    folder = Path(url2pathname(urlparse(run.info.artifact_uri).path))
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_sweep_is_a_parent_with_one_child_per_trial(opened: SweepTracker, folder: Path) -> None:
    opened.start_trial("t1", "qd-4bit", RECIPE, FACTS)
    for step in (1, 2):
        opened.log_epoch("t1", step, {"loss": 1 / step, "validation_accuracy": 0.9 + step / 100})
    packed = kept(opened, "t1", {"student.rdz": b"\x00packed"})
    opened.finish_trial("t1", "finished", {"packed_bytes": 1234}, {}, packed)
    opened.start_trial("t2", "dq-2bit", RECIPE, FACTS)
    opened.finish_trial("t2", "failed", {}, {"reason": "ValueError: no"}, {})
    opened.annotate("t1", {"accuracy": 0.91}, {"front": "true"})
    page = kept(opened, "page", {"front.html": b"<html>"})
    opened.finish_sweep("finished", {"teacher_accuracy": 0.95}, {}, page)
    opened.flush()

    found = runs(folder)
    parent, child, failed = found["digits-1"], found["qd-4bit"], found["dq-2bit"]
    assert parent.info.status == "FINISHED"
    assert parent.data.params == {"trials": "3"}
    assert parent.data.metrics == {"teacher_accuracy": 0.95}
    assert files(parent) == {"front.html": b"<html>"}
    assert (
        parent.data.tags.items()
        >= {
            "rayduce.kind": "sweep",
            "sweep": "digits-1",
            "study": "digits",
            "rayduce.metric": "accuracy",
            "state": "finished",
        }.items()
    )

    assert child.info.status == "FINISHED"
    assert child.info.end_time >= child.info.start_time
    assert (
        child.data.tags.items()
        >= {
            "mlflow.parentRunId": parent.info.run_id,
            "rayduce.kind": "trial",
            "sweep": "digits-1",
            "rayduce.trial_id": "t1",
            "rayduce.recipe_id": "0123456789abcdef",
            "state": "finished",
            "method": "quantized_distillation",
            "bits": "4",
            "sparsity_target": "0.3",
            "front": "true",
        }.items()
    )
    assert child.data.params["quantizer"] == "Uniform"
    assert child.data.params["losses.0.weight.value"] == "0.5"
    assert child.data.metrics == {
        "loss": 0.5,
        "validation_accuracy": 0.92,
        "packed_bytes": 1234.0,
        "accuracy": 0.91,
    }
    stored = files(child)
    assert stored["student.rdz"] == b"\x00packed"
    assert json.loads(stored["recipe.json"]) == RECIPE

    assert failed.info.status == "FAILED"
    assert failed.data.tags["reason"] == "ValueError: no"
    assert opened.run_ids == {"t1": child.info.run_id, "t2": failed.info.run_id}


def test_the_callers_environment_does_not_redirect_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "f" * 32)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "elsewhere")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    sweep = tracker(folder)
    sweep.open({}, TAGS)
    add_trial(sweep, "t1", {})
    sweep.close()
    assert "f" * 32 not in {run.info.run_id for run in runs(folder).values()}
    assert {name for name in runs(folder)} == {"digits-1", "qd-t1"}


def test_a_later_value_is_the_latest_even_within_a_millisecond(opened: SweepTracker, folder: Path) -> None:
    add_trial(opened, "t1", {"latency_ms": 9.0})
    opened.annotate("t1", {"latency_ms": 2.0}, {})
    opened.annotate("t1", {"latency_ms": 1.0}, {})
    opened.flush()
    assert runs(folder)["qd-t1"].data.metrics["latency_ms"] == 1.0


def test_annotate_adds_to_trials_and_to_the_sweep(opened: SweepTracker, folder: Path) -> None:
    add_trial(opened, "t1", {})
    opened.flush()
    opened.annotate("t1", {"accuracy": 0.5}, {"front": "false"})
    opened.annotate(SWEEP, {"teacher_accuracy": 0.6}, {})
    opened.flush()
    found = runs(folder)
    assert found["qd-t1"].data.metrics["accuracy"] == 0.5
    assert found["qd-t1"].data.tags["front"] == "false"
    assert found["digits-1"].data.metrics["teacher_accuracy"] == 0.6


def test_a_sweep_name_is_taken_in_every_study(opened: SweepTracker, folder: Path) -> None:
    other = tracker(folder, study="cifar10")
    with pytest.raises(SweepExists, match=r"^The store has a sweep named digits-1 already; .*--name\.$"):
        other.open({}, TAGS)
    opened.flush()
    assert list(runs(folder)) == ["digits-1"]


def test_close_leaves_nothing_running(folder: Path) -> None:
    sweep = tracker(folder)
    sweep.open({}, TAGS)
    sweep.start_trial("t1", "open", RECIPE, FACTS)
    add_trial(sweep, "t2", {}, name="ended")
    sweep.close()
    sweep.close()
    found = runs(folder)
    assert {name: run.info.status for name, run in found.items()} == {
        "digits-1": "KILLED",
        "open": "KILLED",
        "ended": "FINISHED",
    }
    assert found["open"].data.tags["state"] == "stopped"
    with pytest.raises(RuntimeError, match="not open"):
        sweep.log_epoch("t1", 1, {"loss": 1.0})


def test_resume_goes_on_in_the_same_runs(folder: Path) -> None:
    first = tracker(folder)
    first.open({"trials": 9}, TAGS)
    first.start_trial("t1", "cut short", RECIPE, FACTS)
    first.log_epoch("t1", 3, {"loss": 0.3})
    add_trial(first, "t2", {"packed_bytes": 10}, name="ended")
    first.close()
    before = {name: run.info.run_id for name, run in runs(folder).items()}

    second = tracker(folder)
    second.open({"trials": 10}, TAGS, resume=True)
    second.go_on("goes on")
    second.start_trial("t1", "cut short", RECIPE, FACTS)
    second.flush()
    assert runs(folder)["cut short"].info.status == "RUNNING"
    assert runs(folder)["digits-1"].data.tags["mlflow.note.content"] == "goes on"
    second.finish_trial("t1", "finished", {"loss": 0.9}, {}, {})
    second.annotate("t2", {"packed_bytes": 5}, {})
    second.finish_sweep("finished", {}, {}, {})
    second.close()

    found = runs(folder)
    assert {name: run.info.run_id for name, run in found.items()} == before
    assert {run.info.status for run in found.values()} == {"FINISHED"}
    assert found["cut short"].data.metrics["loss"] == 0.9  # logged at the last step, not at 0
    assert found["ended"].data.metrics["packed_bytes"] == 5


def test_starting_a_trial_again_does_not_duplicate_it(opened: SweepTracker, folder: Path) -> None:
    opened.start_trial("t1", "retried", RECIPE, FACTS)
    opened.flush()
    opened.finish_trial("t1", "failed", {}, {"reason": "worker died"}, {})
    opened.start_trial("t1", "retried", RECIPE, FACTS)
    opened.flush()
    found = runs(folder)
    assert len(found) == 2
    assert found["retried"].info.status == "RUNNING"


def test_nothing_waits_for_a_store_that_hangs(opened: SweepTracker, folder: Path) -> None:
    opened.flush()
    gate, calls = hold(opened, "create_run")
    batches = count_calls(opened, "log_batch")
    opened.start_trial("t1", "held", RECIPE, FACTS)
    with pytest.raises(TrackingError, match=r"the trial held \(t1\) could not be written within 0\.05 s"):
        opened.flush(timeout=0.05)
    for step in range(1, 301):
        opened.log_epoch("t1", step, {"loss": float(step)})
    opened.finish_trial("t1", "finished", {}, {}, {})
    gate.set()
    opened.flush()
    assert len(calls) == 1
    assert len(batches) <= 2, "all that was queued for a run goes out in one batch"
    run = runs(folder)["held"]
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    assert len(client.get_metric_history(run.info.run_id, "loss")) == 300
    assert run.info.status == "FINISHED"


def test_close_gives_up_on_a_store_that_hangs(folder: Path) -> None:
    sweep = tracker(folder)
    sweep.open({}, TAGS)
    sweep.flush()
    gate, _ = hold(sweep, "create_run")
    sweep.start_trial("t1", "held", RECIPE, FACTS)
    with pytest.raises(TrackingError, match="held"):
        sweep.close(timeout=0.05)
    gate.set()


def test_an_error_under_way_is_not_hidden_by_what_close_finds(folder: Path) -> None:
    sweep = tracker(folder)
    sweep.open({}, TAGS)
    refuse(sweep, "poison")
    with pytest.raises(KeyError, match="the real one") as caught:
        try:
            add_trial(sweep, "t1", {"poison": 1.0})
            raise KeyError("the real one")
        finally:
            sweep.close()
    assert "lacks" in caught.value.__notes__[0]


def test_what_cannot_be_written_is_told_once_and_the_rest_is_written(
    opened: SweepTracker, folder: Path
) -> None:
    refuse(opened, "poison")
    add_trial(opened, "t1", {"packed_bytes": 1, "poison": 2.0}, name="bad metric")
    add_trial(opened, "t2", {"packed_bytes": 2}, name="fine")
    with pytest.raises(TrackingError, match=r"the trial bad metric \(t1\) lacks \d metrics"):
        opened.flush()
    assert len(opened.errors) == 1
    opened.flush()
    found = runs(folder)
    assert found["bad metric"].info.status == "FINISHED"
    assert files(found["bad metric"])["student.rdz"] == b"t1"
    assert found["fine"].data.metrics["packed_bytes"] == 2


def test_files_that_cannot_be_written_are_told(opened: SweepTracker, folder: Path) -> None:
    opened.start_trial("t1", "no room", RECIPE, FACTS)
    opened.flush()
    artifacts = Path(folder / "artifacts" / "rayduce-digits" / opened.run_ids["t1"] / "artifacts")
    (artifacts / "student.rdz").mkdir()
    opened.finish_trial("t1", "finished", {"packed_bytes": 1}, {}, kept(opened, "t1", {"student.rdz": b"x"}))
    with pytest.raises(TrackingError, match=r"lacks the file student\.rdz"):
        opened.flush()
    assert runs(folder)["no room"].info.status == "FINISHED"


def test_long_and_many_params_fit_mlflows_limits(opened: SweepTracker, folder: Path) -> None:
    recipe = {
        "type": "Recipe",
        **{f"p{i}": {"type": "Part", "value": i} for i in range(130)},
        "long": "x" * 9000,
    }
    opened.start_trial("t1", "large", recipe, {"note": "y" * 9000})
    opened.flush()
    data = runs(folder)["large"].data
    assert len(data.params) == 261
    assert len(data.params["long"]) == 6000
    assert len(data.tags["note"]) == 8000


def test_a_nan_metric_is_kept_and_what_was_not_measured_is_left_out(
    opened: SweepTracker, folder: Path
) -> None:
    add_trial(opened, "t1", {"loss_b": math.nan, "latency_ms": None, "perplexity": math.inf})
    opened.flush()
    metrics = runs(folder)["qd-t1"].data.metrics
    assert math.isnan(metrics["loss_b"])
    assert "latency_ms" not in metrics
    assert "perplexity" not in metrics, "MLflow would give back the largest float"


def test_flatten_names_parts_by_their_place() -> None:
    assert flatten(RECIPE) == {
        "method": "quantized_distillation",
        "task": "Digits",
        "task.seed": "0",
        "quantizer": "Uniform",
        "quantizer.bits": "4",
        "quantizer.bucket_size": "None",
        "losses.0": "SoftTargets",
        "losses.0.temperature": "4.0",
        "losses.0.weight": "Constant",
        "losses.0.weight.value": "0.5",
        "exempt": "classifier.* stem.*",
        "phases": "none",
    }


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../student.rdz", "a/../../b", "a\\b", ".", "a\0"])
def test_artifact_names_stay_in_the_runs_folder(opened: SweepTracker, name: str) -> None:
    opened.start_trial("t1", "x", RECIPE, FACTS)
    with pytest.raises(ValueError, match="inside its run's folder"):
        opened.finish_trial("t1", "finished", {}, {}, {name: opened.folder.log})


@pytest.mark.parametrize("place", ["../elsewhere", "mlflow.db", "trials/other/t1/student.rdz"])
def test_files_are_the_sweeps_own(opened: SweepTracker, folder: Path, place: str) -> None:
    opened.start_trial("t1", "x", RECIPE, FACTS)
    with pytest.raises(ValueError, match="sweep's own"):
        opened.finish_trial("t1", "finished", {}, {}, {"student.rdz": folder / place})


@pytest.mark.parametrize(
    ("tags", "told"), [({}, "under 'rayduce.metric'"), ({"rayduce.metric": "f1"}, "metric='f1'")]
)
def test_a_metric_that_nobody_could_read_is_refused(folder: Path, tags: dict[str, str], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        tracker(folder).open({}, tags)
    assert runs(folder) == {}


def test_misuse_is_told_at_once(opened: SweepTracker) -> None:
    with pytest.raises(ValueError, match="no trial 't9'"):
        opened.log_epoch("t9", 1, {})
    with pytest.raises(ValueError, match="no trial 't9'"):
        opened.annotate("t9", {}, {})
    opened.start_trial("t1", "x", RECIPE, FACTS)
    with pytest.raises(ValueError, match="'done'"):
        opened.finish_trial("t1", "done", {}, {}, {})
    with pytest.raises(ValueError, match="the metric loss must be a number, got 'low'"):
        opened.log_epoch("t1", 1, {"loss": "low"})  # type: ignore[dict-item]


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "a b", "it's", "x" * 101])
def test_names_that_cannot_name_a_folder_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="sweep must be"):
        SweepTracker(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path, "digits", name)


def test_the_metric_must_be_named(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"rayduce\.metric"):
        tracker(folder).open({}, {})


def test_a_store_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"^Cannot write to the store's folder .*--store\.$"):
        tracker(tmp_path / "file" / "store").open({}, TAGS)


def test_artifacts_below_a_file_cannot_be_written(folder: Path) -> None:
    (folder / "artifacts").write_text("")
    with pytest.raises(StoreError, match=r"^Cannot write artifacts to .*--store\.$"):
        tracker(folder).open({}, TAGS)
    assert runs(folder) == {}


def test_a_damaged_database_is_told_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreError, match=r"^Cannot use the database .*not a database"):
        tracker(tmp_path).open({}, TAGS)
    assert (tmp_path / "mlflow.db").read_bytes() == b"no database at all" * 100


def test_a_database_of_another_mlflow_is_told(folder: Path) -> None:
    with sqlite3.connect(folder / "mlflow.db") as database:
        database.execute("UPDATE alembic_version SET version_num = 'of the future'")
    database.close()
    with pytest.raises(StoreError, match=r"^Cannot use the MLflow store at sqlite:.*[^.]\.$"):
        tracker(folder).open({}, TAGS)


@pytest.mark.parametrize("uri", ["./mlruns", "file:///tmp/x", "ftp://host/x", "sqlite://", "sqlite:///a?b=c"])
def test_addresses_that_mlflow_cannot_use_are_told(tmp_path: Path, uri: str) -> None:
    with pytest.raises(StoreError, match="give sqlite:///PATH"):
        SweepTracker(uri, tmp_path, "digits", "digits-1").open({}, TAGS)


def test_a_server_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(
            StoreError,
            match=rf"^The MLflow server at {uri} cannot be reached \(Connection refused\): start it.*\.$",
        ):
            SweepTracker(uri, tmp_path, "digits", "digits-1").open({}, TAGS)


def test_a_server_that_never_answers_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr("search.tracking.courier.OPEN_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(StoreError, match=f"^The MLflow store at {uri} did not answer within"):
            SweepTracker(uri, tmp_path, "digits", "digits-1").open({}, TAGS)


def test_a_fresh_store_says_nothing_and_loads_no_training_code(tmp_path: Path) -> None:
    script = f"""
import sys
from pathlib import Path
from search.store.store import open_store
from search.tracking.tracker import SweepTracker
from dashboards.report import front_html
assert "mlflow" not in sys.modules, "importing is cheap"
folder = Path({str(tmp_path)!r})
sweep = SweepTracker(f"sqlite:///{{folder}}/mlflow.db", folder, "digits", "digits-1")
sweep.open({{}}, {{"rayduce.metric": "accuracy"}})
sweep.start_trial("t1", "x", {{"type": "Recipe"}}, {{}})
packed = sweep.folder.trials / "t1" / "student.rdz"
packed.parent.mkdir(parents=True)
packed.write_bytes(b"1")
sweep.finish_trial("t1", "finished", {{}}, {{}}, {{"student.rdz": packed}})
sweep.finish_sweep("finished", {{}}, {{}}, {{}})
sweep.close()
store = open_store(folder)
assert store.download(store.trials().run_id[0], "student.rdz") == b"1"
assert len(front_html(store.trials(), store.sweep())) > 1000
assert not {{"torch", "ray"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def hold(sweep: SweepTracker, method: str) -> tuple[threading.Event, list[Any]]:
    """Make a call to MLflow wait for the returned event, as a store would that does not answer."""
    gate = sweep.gate = threading.Event()  # type: ignore[attr-defined]
    calls: list[Any] = []
    real = getattr(sweep._delivery._client, method)

    def held(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        gate.wait(30)
        return real(*args, **kwargs)

    setattr(sweep._delivery._client, method, held)
    return gate, calls


def count_calls(sweep: SweepTracker, method: str) -> list[Any]:
    """The arguments of every call to MLflow's ``method`` from now on."""
    calls: list[Any] = []
    real = getattr(sweep._delivery._client, method)

    def counted(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        return real(*args, **kwargs)

    setattr(sweep._delivery._client, method, counted)
    return calls


def refuse(sweep: SweepTracker, metric: str) -> None:
    """Let MLflow refuse every request that has this metric."""
    sweep.flush()
    client: Any = sweep._delivery._client
    real = client.log_batch

    def refusing(run_id: str, metrics: Any, *rest: Any) -> Any:
        if any(each.key == metric for each in metrics):
            raise MlflowException.invalid_parameter_value(f"no metric {metric}")
        return real(run_id, metrics, *rest)

    client.log_batch = refusing
