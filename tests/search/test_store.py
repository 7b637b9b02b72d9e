import json
import math
import sqlite3
from pathlib import Path

import pytest

from search.objectives.budget import Budget
from search.store.finding import UnknownRun
from search.store.frames import records
from search.store.mlflow_client import connect
from search.store.store import (
    Store,
    StoreError,
    UnknownSweep,
    default_tracking_uri,
    next_name,
    open_store,
)
from search.store.sweep import UnknownMetric
from search.tracking.delivery import SWEEP
from search.tracking.values import signature_tags
from tests.stores import FACTS, RECIPE, add_trial, copy_blank, final, kept, tracker

ENDS = ("quality_low", "quality_high", "lost_low", "lost_high")
DTYPES = {
    "run_id": "string",
    "trial_id": "string",
    "name": "string",
    "state": "string",
    "reason": "string",
    "method": "string",
    "model": "string",
    "bits": "Int64",
    "bucket_size": "Int64",
    "depth": "float64",
    "width": "float64",
    "sparsity_target": "float64",
    "validation_accuracy": "float64",
    "accuracy": "float64",
    "packed_bytes": "Int64",
    "compression_ratio": "float64",
    "onnx_bytes": "Int64",
    "ram_bytes": "Int64",
    "latency_ms": "float64",
    "macs": "Int64",
    "full_macs": "Int64",
    "early_share": "float64",
    "sparsity": "float64",
    "mean_bits": "float64",
    "parameters": "Int64",
    "seconds": "float64",
    "validation_lost_answers": "Int64",
    "validation_gained_answers": "Int64",
    "lost_answers": "Int64",
    "gained_answers": "Int64",
    **dict.fromkeys((f"validation_{end}" for end in ENDS), "float64"),
    **dict.fromkeys(ENDS, "float64"),
    "trained": "float64",
    "front": "bool",
    "recipe_id": "string",
    "seedless_id": "string",
    "start_time": "datetime64[ms, UTC]",
    "end_time": "datetime64[ms, UTC]",
    "feasible": "bool",
    "copied_from": "string",
    "continues": "string",
    "trained_with": "string",
}


@pytest.fixture(scope="module")
def filled(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three sweeps: digits-1 with its front marked, bleu-1 cut off in the middle, empty without trials."""
    folder = copy_blank(blank, tmp_path_factory.mktemp("filled") / "a store, 100%")
    sweep = tracker(folder)
    sweep.open({"trials": 4}, {"rayduce.metric": "accuracy"})
    teacher = {"teacher_accuracy": 0.97, "teacher_validation_accuracy": 0.98, "teacher_packed_bytes": 100_000}
    sweep.annotate(SWEEP, teacher, {})
    add_trial(sweep, "t1", final(0.95, 4_000))
    add_trial(sweep, "t2", final(0.90, 1_000))
    add_trial(
        sweep, "t3", final(0.80, 9_000), facts={"method": "full_precision", "bits": None, "depth": "two"}
    )
    add_trial(sweep, "t4", {}, state="failed", tags={"reason": "ValueError: no"})
    sweep.annotate("t1", {"accuracy": 0.94}, {"front": "true"})
    sweep.finish_sweep("finished", {}, {}, kept(sweep, "page", {"front.html": b"<html>"}))
    sweep.close()

    other = tracker(folder, "bleu-1", "translation")
    other.open({}, {"rayduce.metric": "bleu", **signature_tags({"bleu": "nrefs:1|tok:13a"})})
    beside = {"validation_chrf": 58.1, "validation_perplexity": 5.2, "latency_beam_ms": 21.5}
    add_trial(other, "t1", {**final(30.0, 4_000, "bleu"), **beside})
    add_trial(other, "t2", {**final(20.0, 5_000, "bleu"), "validation_perplexity": math.inf})
    add_trial(other, "t3", final(90.0, 10, "bleu"), state="stopped")
    other.annotate("t1", {"bleu": 29.5, "chrf": 57.0, "perplexity": 5.5}, {})
    other.flush()
    other.start_trial("t4", "running", RECIPE, FACTS)
    other.log_epoch("t4", 1, {"validation_bleu": 90.0, "packed_bytes": 10})
    other.flush()  # not closed: its driver has gone without a word

    last = tracker(folder, "empty")
    last.open({}, {"rayduce.metric": "accuracy"})
    last.close()

    client = connect(f"sqlite:///{folder / 'mlflow.db'}", create=True)
    client.create_run("0", run_name="of somebody else")
    return folder


@pytest.fixture
def store(filled: Path) -> Store:
    return open_store(filled)


def test_sweeps_newest_first(store: Store) -> None:
    sweeps = store.sweeps()
    assert sweeps["name"].tolist() == ["empty", "bleu-1", "digits-1"]
    assert sweeps["state"].tolist() == ["stopped", "running", "finished"]
    assert sweeps["metric"].tolist() == ["accuracy", "bleu", "accuracy"]
    assert sweeps["study"].tolist() == ["digits", "translation", "digits"]
    assert sweeps["teacher_quality"].iloc[2] == 0.97
    assert sweeps["teacher_validation"].iloc[2] == 0.98
    assert sweeps["teacher_bytes"].iloc[2] == 100_000
    assert sweeps["seconds"].isna().tolist() == [False, True, False]


def test_a_sweep_by_name_or_the_newest(store: Store) -> None:
    assert store.sweep().name == "empty"
    sweep = store.sweep("digits-1")
    assert (sweep.teacher_quality, sweep.teacher_validation, sweep.teacher_bytes) == (0.97, 0.98, 100_000)
    assert sweep.params == {"trials": "4"}
    assert math.isnan(store.sweep("bleu-1").teacher_quality)


def test_an_unknown_sweep_is_told_with_those_there_are(store: Store) -> None:
    message = r"^The store has no sweep named 'digits-7'; it has empty, bleu-1, digits-1\.$"
    for ask in (store.sweep, store.trials, store.front):
        with pytest.raises(UnknownSweep, match=message):
            ask("digits-7")


def test_one_row_per_trial(store: Store) -> None:
    rows = records(store.trials("digits-1"))
    assert [row["trial_id"] for row in rows] == ["t1", "t2", "t3", "t4"]
    first = rows[0]
    assert first.items() >= {**final(0.95, 4_000), "accuracy": 0.94}.items()
    assert (
        first.items()
        >= {
            "name": "qd-t1",
            "state": "finished",
            "method": "quantized_distillation",
            "model": "ConvNet",
            "bits": 4,
            "bucket_size": 256,
            "depth": 2,
            "width": 0.5,
            "sparsity_target": 0.3,
            "recipe_id": "0123456789abcdef",
        }.items()
    )
    assert [row["accuracy"] for row in rows] == [0.94, None, None, None]
    assert [row["bits"] for row in rows] == [4, 4, None, 4]
    assert [row["depth"] for row in rows] == [2, 2, None, 2], "a tag that is no number is missing"
    assert (rows[3]["state"], rows[3]["reason"]) == ("failed", "ValueError: no")


@pytest.mark.parametrize("sweep", ["digits-1", "empty"])
def test_columns_are_the_same_with_and_without_rows(store: Store, sweep: str) -> None:
    assert {name: str(dtype) for name, dtype in store.trials(sweep).dtypes.items()} == DTYPES
    assert {name: str(dtype) for name, dtype in store.front(sweep).dtypes.items()} == DTYPES


def test_what_is_reported_beside_the_metric_has_columns_of_its_own(store: Store) -> None:
    columns = list(store.trials("bleu-1").columns)
    assert columns[12:18] == [
        "validation_bleu", "bleu", "validation_chrf", "chrf", "validation_perplexity", "perplexity",
    ]  # fmt: skip
    place = columns.index("seconds")
    assert columns[place : place + 3] == ["seconds", "latency_beam_ms", "validation_lost_answers"]
    first, second, *_ = records(store.trials("bleu-1"))
    assert (first["validation_bleu"], first["bleu"]) == (30.0, 29.5)
    assert (first["validation_chrf"], first["chrf"]) == (58.1, 57.0)
    assert (first["validation_perplexity"], first["perplexity"]) == (5.2, 5.5)
    assert first["latency_beam_ms"] == 21.5
    assert "accuracy" not in first
    assert second["validation_perplexity"] is None, "infinity is not a number that was measured"
    assert store.find_run(first["run_id"])["chrf"] == 57.0


def test_a_sweep_says_how_its_metric_is_read_and_was_computed(store: Store) -> None:
    assert store.sweep("bleu-1").quality.text(34.2) == "34.20"
    assert store.sweep("digits-1").quality.text(0.9889) == "98.89 %"
    assert store.sweep("bleu-1").signatures == {"bleu": "nrefs:1|tok:13a"}
    assert store.sweep("digits-1").signatures == {}


def test_a_metric_of_another_version_is_told(folder: Path) -> None:
    client = connect(f"sqlite:///{folder / 'mlflow.db'}", create=True)
    experiment = client.create_experiment("rayduce-new")
    tags = {"rayduce.kind": "sweep", "sweep": "new-1", "rayduce.metric": "f1"}
    client.create_run(experiment, tags=tags, run_name="new-1")
    store = open_store(folder)
    assert store.sweeps()["metric"].tolist() == ["f1"]
    with pytest.raises(UnknownMetric, match=r"^The sweep new-1 cannot be read .* got metric='f1'\.$"):
        store.trials("new-1")


def test_the_front_is_what_the_sweep_marked(store: Store) -> None:
    # t2 is not dominated, but the sweep's word counts: it may have had a budget or a third objective.
    assert store.front("digits-1")["trial_id"].tolist() == ["t1"]


def test_a_budget_decides_what_is_feasible_and_on_the_front_so_far(folder: Path) -> None:
    sweep = tracker(folder, "tight")
    limits = Budget({"packed_bytes": 5_000}, 10.0)
    sweep.open(limits.params(), {"rayduce.metric": "accuracy"})
    sweep.annotate(SWEEP, {"teacher_validation_accuracy": 0.98}, {})
    for trial_id, quality, size in (("fits", 0.90, 4_000), ("large", 0.95, 5_001), ("poor", 0.87, 1_000)):
        add_trial(sweep, trial_id, final(quality, size), tags={"copied_from": "digits-1/00003"})
    sweep.flush()
    store = open_store(folder)
    assert store.sweep("tight").budget == limits
    trials = store.trials("tight").set_index("trial_id")
    assert trials["feasible"].to_dict() == {"fits": True, "large": False, "poor": False}
    assert store.front("tight")["trial_id"].tolist() == ["fits"]
    assert set(trials["copied_from"]) == {"digits-1/00003"}
    assert set(store.tags("tight", "copied_from").values()) == {"digits-1/00003"}
    assert store.tags("tight", "front") == {}
    row = store.find_run(trials["run_id"]["large"])
    assert store.sweep("tight").over_budget(row) == "its packed size is 5,001 bytes, 1 more than 5,000"
    sweep.close()


def test_what_a_sweep_minimises_decides_its_size_and_the_front_so_far(folder: Path) -> None:
    sweep = tracker(folder, "aims")
    params = {**Budget({"macs": 20_000}).params(), "size": "onnx_bytes", "minimized": ("macs",)}
    sweep.open(params, {"rayduce.metric": "accuracy"})
    sweep.annotate(SWEEP, {"teacher_onnx_bytes": 90_000.0}, {})
    for trial_id, packed, onnx, macs in (
        ("packed", 1_000, 9_000, 12_000),
        ("onnx", 2_000, 5_000, 12_000),
        ("lean", 3_000, 9_500, 11_000),
        ("busy", 500, 500, 20_001),
        ("unknown", 100, math.nan, 10_000),
    ):
        measured = {**final(0.9, packed), "macs": macs, "onnx_bytes": onnx}
        add_trial(sweep, trial_id, {k: v for k, v in measured.items() if not math.isnan(v)})
    sweep.flush()
    store = open_store(folder)
    found = store.sweep("aims")
    assert found.costs == ("onnx_bytes", "macs") and found.size == "onnx_bytes"
    assert found.teacher_size == 90_000 and [cost.name for cost in found.asked] == ["onnx_bytes", "macs"]
    assert store.front("aims")["trial_id"].tolist() == ["onnx", "lean"]
    sweep.close()


def test_aims_that_trials_do_not_report_are_told_in_one_sentence(folder: Path) -> None:
    for number, params in enumerate(
        ({"minimized": "speed"}, {"size": "sparsity"}, {"limits.speed": "3"}, {"limits.macs": "-1"})
    ):
        sweep = tracker(folder, f"odd-{number}")
        sweep.open(params, {"rayduce.metric": "accuracy"})
        sweep.flush()
        with pytest.raises(
            StoreError, match=rf"^The sweep odd-{number} (minimises|has limits that are none)"
        ):
            open_store(folder).trials(f"odd-{number}")
        sweep.close()


def test_before_the_end_the_front_is_computed_over_finished_trials(store: Store) -> None:
    assert store.front("bleu-1")["trial_id"].tolist() == ["t1"]
    assert store.trials("bleu-1")["state"].tolist() == ["finished", "finished", "stopped", "running"]


def test_history_by_step(store: Store) -> None:
    run_id = store.front("digits-1")["run_id"].iloc[0]
    history = store.history(run_id)
    assert history.index.name == "step"
    assert history.index.tolist() == [1]
    assert history.loc[1, "loss"] == 0.5
    assert history.loc[1, "accuracy"] == 0.94
    assert (history.dtypes == "float64").all()


def test_download_reads_a_runs_own_files(store: Store) -> None:
    trials = store.trials("digits-1")
    assert store.download(trials["run_id"][0], "student.rdz") == b"t1"
    assert json.loads(store.download(trials["run_id"][1], "recipe.json")) == RECIPE
    assert store.download(store.sweep("digits-1").run_id, "front.html") == b"<html>"


def test_a_missing_file_is_told_with_those_there_are(store: Store) -> None:
    run_id = store.trials("digits-1")["run_id"][0]
    with pytest.raises(
        StoreError, match=r"no file 'teacher\.rdz'; its artifacts: recipe\.json, student\.rdz\.$"
    ):
        store.download(run_id, "teacher.rdz")


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../artifacts/student.rdz", "a//b", "..", "a\\b", "%2e%2e/x"]
)
def test_download_does_not_leave_the_run(store: Store, name: str) -> None:
    run_id = store.trials("digits-1")["run_id"][0]
    with pytest.raises(StoreError):
        store.download(run_id, name)


def test_download_does_not_follow_a_percent_encoded_path(store: Store, filled: Path) -> None:
    trials = store.trials("digits-1")
    with pytest.raises(StoreError):
        store.download(trials["run_id"][0], f"%2e%2e/%2e%2e/{trials['run_id'][1]}/artifacts/student.rdz")


def test_a_run_id_is_completed_if_it_is_the_only_one(store: Store) -> None:
    run_ids = store.trials("digits-1")["run_id"].tolist()
    assert store.complete(run_ids[0]) == run_ids[0]
    assert store.complete(run_ids[1][:12]) == run_ids[1]
    for prefix in ("", "abc", "g" * 8, "%%%%%%%%", "f" * 33):
        with pytest.raises(UnknownRun, match="6 to 32 hex digits"):
            store.complete(prefix)
    with pytest.raises(UnknownRun, match="no run whose id begins with"):
        store.complete("0123456789abcdef")


def test_artifacts_on_this_machine_are_told_by_path(store: Store) -> None:
    run_id = store.trials("digits-1")["run_id"][0]
    assert Path(store.artifact_location(run_id, "student.rdz")).read_bytes() == b"t1"
    with pytest.raises(UnknownRun):
        store.artifact_location("0" * 32, "student.rdz")


def test_find_run_tells_the_trial_and_its_sweep(store: Store) -> None:
    run_id = store.front("digits-1")["run_id"].iloc[0]
    row = store.find_run(run_id)
    assert (row["run_id"], row["sweep"], row["study"], row["metric"]) == (
        run_id,
        "digits-1",
        "digits",
        "accuracy",
    )
    assert row["accuracy"] == 0.94
    assert row["reason"] is None
    assert json.loads(json.dumps(row)) == row


@pytest.mark.parametrize("run_id", ["", "nonsense", "0" * 32, "' or 1=1 --"])
def test_an_unknown_run_is_told(store: Store, run_id: str) -> None:
    for ask in (store.find_run, store.history, lambda r: store.download(r, "student.rdz")):
        with pytest.raises(UnknownRun, match=r"^The store has no trial with the run id"):
            ask(run_id)


def test_runs_of_others_and_sweeps_are_no_trials(store: Store, filled: Path) -> None:
    [foreign] = store._client.search_runs(["0"])
    for run_id in (foreign.info.run_id, store.sweep("digits-1").run_id):
        with pytest.raises(UnknownRun):
            store.find_run(run_id)
    with pytest.raises(UnknownRun):
        store.download(foreign.info.run_id, "x")


def test_records_are_plain_json(store: Store) -> None:
    rows = records(store.trials("digits-1"))
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert rows[0]["bits"] == 4
    assert rows[1]["accuracy"] is None
    assert rows[2]["bits"] is None
    assert rows[0]["front"] is True
    assert records(store.trials("empty")) == []


def test_next_name_counts_on(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert next_name(filled, None, "digits") == "digits-2"
    assert next_name(filled, None, "cifar10") == "cifar10-1"
    assert next_name(tmp_path / "none", None, "digits") == "digits-1"
    assert not (tmp_path / "none").exists()


def test_the_argument_goes_before_the_environment_before_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    assert default_tracking_uri(Path("store")) == f"sqlite:///{tmp_path}/store/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://from.environment")
    assert default_tracking_uri(Path("store")) == "http://from.environment"
    assert default_tracking_uri(Path("store"), "http://from.argument") == "http://from.argument"


def test_a_store_that_is_not_there_is_told_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"^There is no store at .*rayduce sweep"):
        open_store(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


def test_a_database_of_somebody_else_is_told_and_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("CREATE TABLE addresses (name TEXT)")
    database.close()
    before = (tmp_path / "mlflow.db").read_bytes()
    with pytest.raises(StoreError, match="is not an MLflow store"):
        open_store(tmp_path)
    assert (tmp_path / "mlflow.db").read_bytes() == before


def test_a_damaged_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"\0garbage" * 1000)
    with pytest.raises(StoreError, match="not a database"):
        open_store(tmp_path)


def test_a_store_without_sweeps(folder: Path) -> None:
    store = open_store(folder)
    assert store.sweeps().empty
    with pytest.raises(UnknownSweep, match=r"^The store has no sweep yet: run `rayduce sweep` first\.$"):
        store.trials()
