"""A tracking server that is really killed, answers that are lost: everything arrives, once and in order."""

import contextlib
import errno
import json
import os
import ssl
from collections import Counter

import pytest
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from search.log.folder import DeliveryMark
from search.store.mlflow_client import StoreError
from search.store.store import open_store
from search.tracking import courier
from search.tracking.delivery import SWEEP
from search.tracking.tracker import SweepTracker, TrackingError
from search.tracking.trouble import Away, NoRoom, raise_if_passing
from search.tracking.updates import mlflow_key
from tests.stores import FACTS, RECIPE, add_trial, copy_blank, kept, read_lines, tracker, write_lines

TAGS = {"rayduce.metric": "accuracy"}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(courier, "FIRST_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(courier, "LONGEST_PAUSE_SECONDS", 0.5)


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


ODD = "caf\udce9 \x1b[2J \0 \u202e"
TOLD = r"caf\xe9 \x1b[2J \x00 \u202e"


def test_what_mlflow_cannot_store_is_told_in_another_way(folder):
    """Names of classes are names of folders, and those need not be UTF-8."""
    sweep = tracker(folder)
    sweep.open({"classes": ODD, "kö y": 1}, TAGS)
    sweep.start_trial("00000", ODD, {**RECIPE, "classes": [ODD, "tea"]}, {**FACTS, "note": f"{ODD}\n**b**"})
    sweep.log_epoch("00000", 1, {"loss": 0.5, "no*star": 1.0, "a/../b": 2.0, "x" * 300: 3.0})
    sweep.finish_trial("00000", "failed", {}, {"reason": ODD, ODD: "x"}, {})
    sweep.finish_sweep("finished", {}, {"reason": "…" * 9000}, {})
    sweep.flush()
    sweep.abandon()
    assert not sweep.errors
    runs = in_database(folder / "mlflow.db")[1]
    trial, data = runs["00000"], runs["00000"].data
    assert (trial.info.run_name, data.tags["reason"], trial.info.status) == (TOLD, TOLD, "FAILED")
    assert data.tags["note"] == f"{TOLD}\n**b**", "lines stay lines"
    assert data.params["classes"] == f"{TOLD} tea"
    assert sorted(data.metrics.values()) == [0.5, 1.0, 2.0, 3.0] and data.metrics["loss"] == 0.5
    assert runs[SWEEP].data.params == {"classes": TOLD, "kö y": "1"}
    assert len(runs[SWEEP].data.tags["reason"]) == 8000
    assert json.loads(open_store(folder).download(trial.info.run_id, "recipe.json"))["classes"] == [
        ODD,
        "tea",
    ]


def test_two_names_that_mlflow_refuses_stay_two():
    names = [
        "no*star",
        "no?star",
        "no_star",
        "..",
        "../x",
        "/x",
        "x/",
        "a//b",
        "",
        "x" * 251,
        "x" * 252,
        "a\n",
    ]
    told = [mlflow_key(name) for name in names]
    assert len(set(told)) == len(names) and mlflow_key("no_star") == "no_star"
    assert all(len(name) <= 250 for name in told)


def encoding_error():
    try:
        "\udce9".encode()
    except UnicodeEncodeError as error:
        return error


def wrapped(cause, code="INTERNAL_ERROR"):
    """As MLflow's own store hands on what went wrong in it."""
    from mlflow.protos.databricks_pb2 import ErrorCode

    error = MlflowException(str(cause), error_code=ErrorCode.Value(code))
    error.__cause__ = cause
    return error


def answered(status):
    response = requests.Response()
    response.status_code = status
    return requests.HTTPError("no", response=response)


def from_server(code):
    from mlflow.exceptions import RestException

    return RestException({"error_code": code, "message": "no"})


REFUSED = [
    encoding_error(), wrapped(encoding_error()), ValueError("bad"), TypeError("bad"),
    wrapped(TypeError("bad")),
    wrapped(RuntimeError("bound"), "BAD_REQUEST"), StoreError("no"), requests.exceptions.InvalidURL("no"),
    FileNotFoundError(errno.ENOENT, "gone"), IsADirectoryError(errno.EISDIR, "a folder"),
    MlflowException("(sqlite3.OperationalError) no such table: metrics"),
    *map(answered, (400, 404, 409, 413, 422)),
    *map(from_server, ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "INVALID_STATE")),
]  # fmt: skip
PASSING = [
    requests.ConnectionError("no"), requests.Timeout("no"), ConnectionResetError("no"), TimeoutError("no"),
    ssl.SSLCertVerificationError("no"), wrapped(RuntimeError("locked"), "TEMPORARILY_UNAVAILABLE"),
    *map(answered, (401, 403, 408, 425, 429, 500, 502, 503)),
    *map(from_server, ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED")),
    *map(from_server, ("PERMISSION_DENIED", "UNAUTHENTICATED")),
    json.JSONDecodeError("a page of a proxy", "<html>", 0),
]  # fmt: skip


@pytest.mark.parametrize("error", REFUSED, ids=repr)
def test_what_no_waiting_can_mend_is_no_outage(error):
    raise_if_passing(error, at_any_price=False)


@pytest.mark.parametrize("error", PASSING, ids=repr)
def test_what_may_pass_is_waited_for(error):
    with pytest.raises(Away):
        raise_if_passing(error, at_any_price=False)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_disk_without_room_is_waited_for(number):
    with pytest.raises(NoRoom):
        raise_if_passing(wrapped(OSError(number, os.strerror(number))), at_any_price=False)


def delivered_sweep(folder):
    sweep = tracker(folder)
    sweep.open({}, TAGS)
    log_trial(sweep, "00000")
    sweep.finish_sweep("finished", {}, {}, {})
    sweep.close()
    return sweep.folder


def deliver_again(folder):
    """What MLflow was asked for, by the number of events that were read for it."""
    later = tracker(folder)
    batches = []
    steps = later._delivery.steps
    later._delivery.steps = lambda events: batches.append(len(events)) or steps(events)
    later.open({}, TAGS, resume=True)
    later.flush()
    later.abandon()
    return sum(batches)


def test_what_the_disk_took_back_is_delivered_again(folder):
    """A power cut: zeros stand where the log had its last event, and ``delivered.json`` is ahead of it."""
    own = delivered_sweep(folder)
    assert deliver_again(folder) == 0
    events = read_lines(own.log)
    size = own.log.stat().st_size
    os.truncate(own.log, size - len(own.log.read_bytes().splitlines()[-1]) - 1)
    os.truncate(own.log, size)
    assert deliver_again(folder) == len(events) - 1, "from the beginning"
    assert len(read_lines(own.log)) == len(events) - 1, "the zeros are gone"
    check_trials(folder / "mlflow.db", ["00000"])
    assert deliver_again(folder) == 0


@pytest.mark.parametrize("change", [{"bytes": 10**9}, {"bytes": 10}, {"check": "0" * 16}, {"bytes": -1}])
def test_a_mark_that_is_not_of_this_log_means_the_beginning(folder, change):
    own = delivered_sweep(folder)
    own.delivered.write_text(json.dumps(json.loads(own.delivered.read_text()) | change))
    assert deliver_again(folder) == len(read_lines(own.log))


def test_a_mark_of_another_log_of_that_length_means_the_beginning(folder):
    own = delivered_sweep(folder)
    events = read_lines(own.log)
    events[2]["metrics"]["loss"] = 0.7
    size = own.log.stat().st_size
    write_lines(own.log, events)
    assert own.log.stat().st_size == size
    assert deliver_again(folder) == len(events)


def test_nothing_is_delivered_that_the_disk_does_not_have(folder, monkeypatch):
    from search.log import event_log

    sweep = tracker(folder)
    sweep.open({}, TAGS)
    sweep.flush()
    synced = []
    monkeypatch.setattr(event_log, "_sync", lambda path: synced.append(path.stat().st_size))
    real, log = sweep._delivery.deliver, sweep.folder.log

    def deliver(steps, refused, **how):
        assert synced, "the log waits for the disk first"
        return real(steps, refused, **how)

    sweep._delivery.deliver = deliver
    sweep.start_trial("00000", "x", RECIPE, FACTS)
    sweep.log_epoch("00000", 1, {"loss": 1.0})
    sweep.flush()
    assert synced[-1] == log.stat().st_size
    sweep.close()


def test_what_was_refused_is_tried_again_by_the_next_delivery(folder):
    sweep = tracker(folder)
    sweep.open({}, TAGS)
    sweep.flush()

    def failing(*args):
        raise ValueError("a bug")

    sweep._delivery._client.log_batch = failing
    log_trial(sweep, "00000")
    with pytest.raises(TrackingError, match="a bug"):
        sweep.close()
    assert DeliveryMark(sweep.folder, None).read().bytes == 0
    assert deliver_again(folder) == len(read_lines(sweep.folder.log))
    check_trials(folder / "mlflow.db", ["00000"])
    assert deliver_again(folder) == 0
