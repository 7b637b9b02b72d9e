"""What became of a sweep's trials, rebuilt from its log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from search.callback import Record, kept_metrics
from search.delivery import SWEEP
from search.event_log import Event
from search.mlflow_client import FRONT_TAG
from search.samplers import CONTINUES
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
            continues = event["tags"].get(CONTINUES) or ""
            records[key] = Record(key, recipe_from_dict(event["recipe"]), continues=continues)
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


class Hearer(Protocol):
    """What learns from what trials report, such as :class:`search.scheduler.ParetoScheduler`."""

    def learn(self, name: str, recipe: Recipe, result: Mapping[str, Any]) -> str:
        """A trial reported."""
        ...

    def let_go(self, name: str) -> None:
        """A trial was pruned."""
        ...

    def take_up(self, name: str, as_name: str) -> None:
        """A pruned trial went on as another one."""
        ...


def tell_again(events: Iterable[Event], hearer: Hearer) -> None:
    """Tell ``hearer`` what it heard in a driver that logged ``events``, in the same order."""
    recipes: dict[str, Recipe] = {}
    for event in events:
        key, kind = event["run"], event["kind"]
        if key == SWEEP:
            continue
        if kind == "start":
            recipes[key] = recipe_from_dict(event["recipe"])
            if CONTINUES in event["tags"]:
                hearer.take_up(event["tags"][CONTINUES], key)
        elif kind == "epoch":
            hearer.learn(key, recipes[key], {**event["metrics"], "epoch": event["step"]})
        elif kind == "end" and event["state"] == "pruned":
            hearer.let_go(key)
