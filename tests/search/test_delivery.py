"""A tracking server that is really killed, answers that are lost: everything arrives, once and in order."""

import contextlib
import json
from collections import Counter

import pytest
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from search import tracking
from search.delivery import SWEEP
from search.tracking import SweepTracker, TrackingError
from tests.stores import FACTS, RECIPE, add_trial, copy_blank, kept, tracker

TAGS = {"rayduce.metric": "accuracy"}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(tracking, "FIRST_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(tracking, "LONGEST_PAUSE_SECONDS", 0.5)


def in_database(path):
    """Every run by its trial, as the database has them, deleted ones left out."""
    client = MlflowClient(f"sqlite:///{path}")
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    found = Counter(run.data.tags.get("rayduce.trial_id", SWEEP) for run in runs)
    assert set(found.values()) == {1}, f"runs that are there twice: {found}"
    return client, {run.data.tags.get("rayduce.trial_id", SWEEP): run for run in runs}


def log_trial(sweep, trial_id, epochs=5):
    sweep.start_trial(trial_id, f"qd-{trial_id}", RECIPE, FACTS)
    for step in range(1, epochs + 1):
        sweep.log_epoch(trial_id, step, {"loss": 1 / step})
    files = kept(sweep, trial_id, {"student.rdz": trial_id.encode()})
    sweep.finish_trial(trial_id, "finished", {"packed_bytes": 7}, {}, files)


def check_trials(path, trials):
    client, runs = in_database(path)
    assert runs.keys() == {SWEEP, *trials}
    for trial_id in trials:
        run = runs[trial_id]
        assert run.info.status == "FINISHED" and run.data.params["method"] == "quantized_distillation"
        history = client.get_metric_history(run.info.run_id, "loss")
        assert [(m.step, m.value) for m in sorted(history, key=lambda m: m.timestamp)] == [
            (step, 1 / step) for step in range(1, 6)
        ]
    return runs


@pytest.mark.slow
def test_what_is_logged_while_the_server_is_away_arrives_when_it_is_back(server, tmp_path):
    store = tmp_path / "store"
    sweep = SweepTracker(server.uri, store, "digits", "digits-1")
    sweep.open({"trials": 4}, TAGS)
    log_trial(sweep, "00000")
    sweep.flush()

    server.kill()
    log_trial(sweep, "00001")
    log_trial(sweep, "00002")
    sweep.start_trial("00003", "open", RECIPE, FACTS)
    sweep.log_epoch("00003", 1, {"loss": 1.0})
    with pytest.raises(TrackingError, match=r"the trial qd-00001 \(00001\).*Connection refused|Max retries"):
        sweep.flush(1)
    server.start()
    sweep.flush()
    assert in_database(server.folder / "mlflow.db")[1].keys() == {SWEEP, "00000", "00001", "00002", "00003"}

    server.kill()  # for good, as far as this driver will know
    for step in range(2, 6):
        sweep.log_epoch("00003", step, {"loss": 1 / step})
    files = kept(sweep, "00003", {"student.rdz": b"00003"})
    sweep.finish_trial("00003", "finished", {"packed_bytes": 7}, {}, files)
    sweep.finish_sweep("finished", {}, {}, {})
    with pytest.raises(TrackingError, match="does not have everything"):
        sweep.close(1)
    assert sweep.undelivered

    server.start()
    later = SweepTracker(server.uri, store, "digits", "digits-1")
    later.open({}, TAGS, resume=True)
    later.flush()
    later.abandon()
    runs = check_trials(server.folder / "mlflow.db", ["00000", "00001", "00002", "00003"])
    assert runs[SWEEP].info.status == "FINISHED"
    artifacts = MlflowClient(server.uri).list_artifacts(runs["00003"].info.run_id)
    assert {file.path for file in artifacts} == {"recipe.json", "student.rdz"}


def test_a_lost_answer_makes_no_second_run(folder):
    """Each request is carried out, and half of the answers never arrive."""
    sweep = tracker(folder)
    sweep.open({}, TAGS)
    sweep.flush()
    client, calls = sweep._delivery._client, Counter()

    def lossy(method):
        real = getattr(client, method)

        def call(*args, **kwargs):
            calls[method] += 1
            answer = real(*args, **kwargs)
            if calls[method] % 2:
                raise requests.ConnectionError("the answer was lost")
            return answer

        return call

    for method in ("create_run", "log_batch", "set_terminated"):
        setattr(client, method, lossy(method))
    for number in range(3):
        log_trial(sweep, f"{number:05d}")
    sweep.finish_sweep("finished", {}, {}, {})
    sweep.close()
    assert calls["create_run"] >= 3 and calls["log_batch"] > 3
    check_trials(folder / "mlflow.db", ["00000", "00001", "00002"])


def test_runs_that_were_made_twice_nevertheless_become_one(folder):
    sweep = tracker(folder)
    sweep.open({}, TAGS)
    log_trial(sweep, "00000")
    sweep.flush()
    sweep.abandon()
    client, runs = in_database(folder / "mlflow.db")
    first = runs["00000"]
    client.create_run(first.info.experiment_id, tags=first.data.tags)
    later = tracker(folder)
    later.open({}, TAGS, resume=True)
    later.flush()
    later.close()
    assert check_trials(folder / "mlflow.db", ["00000"])["00000"].info.run_id == first.info.run_id


def test_delivering_everything_again_changes_nothing(folder):
    sweep = tracker(folder)
    sweep.open({"trials": 1}, TAGS)
    log_trial(sweep, "00000")
    sweep.annotate("00000", {"accuracy": 0.5}, {"front": "true"})
    sweep.finish_sweep("finished", {}, {}, {})
    sweep.close()
    before = {key: run.to_dictionary() for key, run in in_database(folder / "mlflow.db")[1].items()}
    sweep.folder.delivered.unlink()
    later = tracker(folder)
    later.open({}, TAGS, resume=True)
    later.flush()
    later.abandon()
    check_trials(folder / "mlflow.db", ["00000"])
    assert {k: run.to_dictionary() for k, run in in_database(folder / "mlflow.db")[1].items()} == before


def test_another_store_gets_everything_from_the_beginning(blank, folder, tmp_path):
    sweep = tracker(folder)
    sweep.open({}, TAGS)
    log_trial(sweep, "00000")
    sweep.finish_sweep("finished", {}, {}, {})
    sweep.close()
    other = copy_blank(blank, tmp_path / "other") / "mlflow.db"
    later = SweepTracker(f"sqlite:///{other}", folder, "digits", "digits-1")
    later.open({}, TAGS, resume=True)
    later.flush()
    later.abandon()
    assert check_trials(other, ["00000"])[SWEEP].info.status == "FINISHED"


def test_what_a_server_always_fails_at_holds_up_nothing_else(folder, monkeypatch):
    from mlflow.exceptions import RestException

    sweep = tracker(folder)
    sweep.open({}, TAGS)
    sweep.flush()
    client = sweep._delivery._client
    real = client.log_batch

    def failing(run_id, metrics, params, tags):
        if any(metric.key == "poison" for metric in metrics):
            raise RestException({"error_code": "INTERNAL_ERROR", "message": "a bug of the server"})
        return real(run_id, metrics, params, tags)

    client.log_batch = failing
    add_trial(sweep, "t1", {"poison": 1.0})
    add_trial(sweep, "t2", {"packed_bytes": 2.0})
    with pytest.raises(TrackingError, match=r"the trial qd-t1 \(t1\) lacks 2 metrics.*a bug of the server"):
        sweep.flush()
    sweep.close()
    runs = in_database(folder / "mlflow.db")[1]
    assert runs["t2"].data.metrics["packed_bytes"] == 2.0
    assert {runs[key].info.status for key in ("t1", "t2")} == {"FINISHED"}


def test_a_full_disk_is_told_and_waited_for(folder):
    """As MLflow reports it when sqlite finds no room; what was logged is delivered when there is some."""
    sweep = tracker(folder)
    sweep.open({}, TAGS)
    sweep.flush()
    client = sweep._delivery._client
    real, full = client.log_batch, [True]

    def call(*args, **kwargs):
        if full[0]:
            raise MlflowException("(sqlite3.OperationalError) database or disk is full")
        return real(*args, **kwargs)

    client.log_batch = call
    log_trial(sweep, "00000")
    with pytest.raises(TrackingError, match="disk is full"):
        sweep.flush(1)
    assert "disk is full" in sweep.no_room
    full[0] = False
    sweep.flush()
    assert not sweep.no_room
    sweep.close()
    check_trials(folder / "mlflow.db", ["00000"])


def test_events_have_their_own_times_however_late_they_arrive(folder):
    sweep = tracker(folder)
    sweep.open({}, TAGS)
    log_trial(sweep, "00000")
    sweep.close()
    events = [json.loads(line) for line in sweep.folder.log.read_text().splitlines()]
    times = [event["time"] for event in events]
    assert times == sorted(set(times))
    end = next(e["time"] for e in events if e["kind"] == "end" and e["run"] == "00000")
    start = next(e["time"] for e in events if e["kind"] == "start")
    run = in_database(folder / "mlflow.db")[1]["00000"]
    assert (run.info.start_time, run.info.end_time) == (start, end)
    with contextlib.suppress(FileNotFoundError):
        sweep.folder.delivered.unlink()
