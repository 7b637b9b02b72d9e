"""What became of a sweep's trials, rebuilt from its log."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from search.callback import Record, kept_metrics
from search.delivery import SWEEP
from search.event_log import Event
from search.mlflow_client import FRONT_TAG
from trainables.recipe import Recipe, recipe_from_dict
from trainables.trial_folder import STUDENT_FILE


def records_of(events: Iterable[Event], store: Path, metric: str) -> dict[str, Record]:
    """The records that a driver had that logged ``events`` of a sweep by ``metric`` in ``store``."""
    kept = kept_metrics(metric)
    records: dict[str, Record] = {}
    for event in events:
        key, kind = event["run"], event["kind"]
        if key == SWEEP:
            continue
        if kind == "start":
            records[key] = Record(key, recipe_from_dict(event["recipe"]))
            continue
        record = records[key]
        if front := event.get("tags", {}).get(FRONT_TAG):
            record.front = front == "true"
        if kind == "again":
            record.state = "running"
            continue
        measured = {k: float(v) for k, v in event["metrics"].items()}
        if kind == "epoch":
            record.metrics["epoch"] = event["step"]
        record.metrics |= (
            measured if kind == "note" else {k: measured[k] for k in kept.names if k in measured}
        )
        if kind == "end":
            record.state = event["state"]
            record.reason = event["tags"].get("reason", "")
            record.machine = event["tags"].get("latency_machine", "")
            record.copied_from = event["tags"].get("copied_from", "")
            if STUDENT_FILE in event["files"]:
                record.packed_file = store / event["files"][STUDENT_FILE]
    return records


def sweep_tag(events: Iterable[Event], tag: str) -> str:
    """The last value of a tag of the sweep; empty if it has none."""
    found = ""
    for event in events:
        if event["run"] == SWEEP:
            found = event.get("tags", {}).get(tag, found)
    return found


def reports_of(events: Iterable[Event]) -> Iterator[tuple[str, Recipe, dict[str, float]]]:
    """What trials reported, in the order in which they did: trial, recipe and an epoch's metrics."""
    recipes: dict[str, Recipe] = {}
    for event in events:
        key = event["run"]
        if event["kind"] == "start" and key != SWEEP:
            recipes[key] = recipe_from_dict(event["recipe"])
        elif event["kind"] == "epoch":
            yield key, recipes[key], {**event["metrics"], "epoch": event["step"]}
