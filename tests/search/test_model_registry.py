"""Registered students, and what two sweeps, a user and lost answers do to the aliases."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import requests
from mlflow import MlflowClient

from search.store.store import StoreError, open_store
from search.tracking.model_registry import ENDED_TAG, Registration, register
from tests.search.small_sweep import conclude, open_sweep, other_students, run_trial, small_sweep
from tests.stores import tracker

MODEL = "rayduce-digits"
EARNED = {
    "smallest": "00001",
    "best": "00003",
    "measured-within-half-a-point": "00003",
    "measured-within-1-point": "00003",
    "measured-within-2-points": "00003",
    "measured-within-5-points": "00007",
}


def uri_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'mlflow.db'}"


def client_of(folder: Path) -> MlflowClient:
    return MlflowClient(uri_of(folder), registry_uri=uri_of(folder))


def named(client: MlflowClient) -> dict[str, str]:
    """Alias -> run id."""
    held = client.get_registered_model(MODEL).aliases
    return {alias: str(client.get_model_version_by_alias(MODEL, alias).run_id) for alias in held}


def versions(client: MlflowClient) -> Counter[str]:
    """How many versions each run has."""
    return Counter(str(version.run_id) for version in client.search_model_versions(f"name = '{MODEL}'"))


def deliver_again(folder: Path, sweep: str) -> None:
    again = tracker(folder, sweep)
    again.folder.delivered.unlink()
    again.open({}, {"rayduce.metric": "accuracy"}, resume=True)
    again.flush()
    again.abandon()


def test_the_last_sweep_has_the_aliases_however_often_each_is_delivered(folder: Path) -> None:
    first = small_sweep(uri_of(folder), folder, "digits-1")
    client = client_of(folder)
    assert named(client) == {alias: first[trial] for alias, trial in EARNED.items()}
    client.set_registered_model_alias(MODEL, "production", "1")  # a user's own
    users = client.get_model_version(MODEL, "1").run_id

    second = small_sweep(uri_of(folder), folder, "digits-2", other_students(1, 1))
    wanted = {alias: second[trial] for alias, trial in EARNED.items()} | {"production": users}
    assert named(client) == wanted
    chosen = {run_ids[trial] for run_ids in (first, second) for trial in EARNED.values()}
    assert versions(client) == dict.fromkeys(chosen, 1)
    before = [dict(version) for version in client.search_model_versions(f"name = '{MODEL}'")]

    for sweep in ("digits-2", "digits-1", "digits-1"):
        deliver_again(folder, sweep)
    assert named(client) == wanted, "an older sweep takes no alias back"
    assert [dict(version) for version in client.search_model_versions(f"name = '{MODEL}'")] == before

    store = open_store(folder)
    assert store.registered(f"models:/{MODEL}@best") == second["00003"]
    assert store.registered(f"models:/{MODEL}/1") == users
    with pytest.raises(StoreError, match=rf"^Nothing is registered as .*; there is models:/{MODEL}@best, "):
        store.registered(f"models:/{MODEL}@measured-within-9-points")
    with pytest.raises(StoreError, match="Nothing is registered"):
        store.registered("models:/rayduce-nothing/3")
    for wrong in ("models:/", f"models:/{MODEL}", "models:/a@b@c", "models:/../x@best", "models:m@best"):
        with pytest.raises(StoreError, match="names no registered student"):
            store.registered(wrong)


def test_a_sweep_that_ends_again_corrects_what_its_earlier_end_said(folder: Path) -> None:
    open_tracker, events, about = open_sweep(uri_of(folder), folder)
    for number, student in enumerate(other_students(0, 0)):
        run_trial(events, open_tracker, number, student)
    conclude(open_tracker, events, about)
    open_tracker.flush()
    client, run_ids = client_of(folder), open_tracker.run_ids
    assert named(client) == {alias: run_ids[trial] for alias, trial in EARNED.items()}

    open_tracker.go_on(about)
    events.records["00003"].metrics["packed_bytes"] = 90_000.0  # over the limits, as it turns out
    conclude(open_tracker, events, about)
    open_tracker.close()
    assert named(client) == {
        "smallest": run_ids["00001"],
        "best": run_ids["00007"],
        "measured-within-5-points": run_ids["00007"],
    }
    tags = client.get_run(run_ids["00003"]).data.tags
    assert (tags["front"], tags["feasible"]) == ("false", "false")
    assert "over the sweep's limits" in tags["mlflow.note.content"]
    assert "front" not in tags["mlflow.note.content"]


def test_lost_answers_make_no_second_version(folder: Path) -> None:
    """Each request is carried out, and the first answer of each kind never arrives."""
    run_ids = small_sweep(uri_of(folder), folder)
    client, calls = client_of(folder), Counter[str]()
    client.delete_registered_model(MODEL)

    class Lossy:
        def __getattr__(self, method: str) -> Any:
            def call(*args: Any, **kwargs: Any) -> Any:
                answer = getattr(client, method)(*args, **kwargs)
                calls[method] += 1
                if calls[method] == 1:
                    raise requests.ConnectionError("the answer was lost")
                return answer

            return call

    descriptions = dict.fromkeys(EARNED.values(), "told")
    wanted = Registration("digits", "digits-1", "2026-11-21T22:00:00.000+00:00", EARNED, descriptions)
    for _ in range(20):
        try:
            register(Lossy(), wanted, run_ids)  # type: ignore[arg-type]
            break
        except requests.ConnectionError:
            continue
    assert {"create_registered_model", "create_model_version", "set_registered_model_alias"} <= calls.keys()
    assert versions(client) == {run_ids[trial]: 1 for trial in EARNED.values()}
    assert named(client) == {alias: run_ids[trial] for alias, trial in EARNED.items()}
    ended = {v.tags[ENDED_TAG] for v in client.search_model_versions(f"name = '{MODEL}'")}
    assert ended == {wanted.ended}


def test_a_sweep_without_a_front_registers_nothing(folder: Path) -> None:
    open_tracker, events, about = open_sweep(uri_of(folder), folder)
    _, front = conclude(open_tracker, events, about)
    open_tracker.close()
    assert front == [] and client_of(folder).search_registered_models() == []
    parent = open_store(folder).sweep("digits-1")
    assert open_store(folder).download(parent.run_id, "front.csv").startswith(b"trial,name,")


def test_an_alias_needs_a_trial_and_a_description(folder: Path) -> None:
    open_tracker, events, _ = open_sweep(uri_of(folder), folder)
    run_trial(events, open_tracker, 0, other_students(0, 0)[0])
    with pytest.raises(ValueError, match="no trial '9'"):
        open_tracker.finish_sweep("finished", {}, {}, {}, aliases={"best": "9"}, descriptions={"9": "x"})
    with pytest.raises(ValueError, match="needs a description"):
        open_tracker.finish_sweep("finished", {}, {}, {}, aliases={"best": "00000"})
    open_tracker.close()
