"""What became of a sweep's trials, rebuilt from its log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import optuna

from search.log.events import SWEEP, Event
from search.sampling.samplers import CONTINUES
from search.store.mlflow_client import FRONT_TAG, TRAINED_WITH_TAG, StoreError
from search.tracking.record import Record, kept_metrics
from trainables.foreign import shown
from trainables.metrics import Quality
from trainables.recipe import Recipe, recipe_from_dict
from trainables.shipping.packed_file import PackedFileError, read_file, read_header
from trainables.training.trial_folder import STUDENT_FILE


def records_of(events: Iterable[Event], store: Path, quality: Quality) -> dict[str, Record]:
    """The records that a driver had that logged ``events`` of a sweep by ``quality`` in ``store``.

    Raises:
        StoreError: a recipe of the log is none.
    """
    kept = kept_metrics(quality)
    records: dict[str, Record] = {}
    for event in events:
        key, kind = event["run"], event["kind"]
        if key == SWEEP:
            continue
        if kind == "start":
            continues = event["tags"].get(CONTINUES) or ""
            trained_with = event["tags"].get(TRAINED_WITH_TAG) or ""
            records[key] = Record(key, _recipe(event), continues=continues, trained_with=trained_with)
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
            record.trained.hear(event["step"], measured)
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


def _recipe(event: Event) -> Recipe:
    """The recipe of a trial's start."""
    try:
        recipe = recipe_from_dict(event["recipe"])
    except ValueError as error:
        raise StoreError(
            f"The log has a recipe of the trial {event['run']} that this version cannot read: "
            f"{shown(str(error)).rstrip('.')}; go on with the version that wrote it, or start a new sweep."
        ) from error
    return recipe


def lost_trials(records: Mapping[str, Record], study: optuna.Study) -> dict[str, str]:
    """Which trials can neither be used nor go on, and why.

    Those that have finished and whose student is gone, and those that Optuna has as ended while the end of
    the log, where their own end stood, is lost: Optuna does not hand them out again.

    Args:
        records: of the log.
        study: of Optuna's journal.
    """
    ended = {trial.number for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()}
    found: dict[str, str] = {}
    for key, record in records.items():
        if record.state == "finished":
            if trouble := _trouble_with(record):
                found[key] = trouble
        elif not record.ended and key.isdecimal() and int(key) in ended:
            found[key] = "its end was lost with the end of the sweep's log"
    return found


def _trouble_with(record: Record) -> str:
    """Why a finished trial's student cannot be used; empty if it can."""
    if record.packed_file is None:
        return "the sweep's log names no file of its student"
    try:
        recipe_id = read_header(read_file(record.packed_file)).recipe_id
    except PackedFileError as error:
        return f"its student is lost: {shown(str(error))}"
    return "" if recipe_id == record.recipe.recipe_id else f"its student is another one: {recipe_id}"


def sweep_tag(events: Iterable[Event], tag: str) -> str:
    """The last value of a tag of the sweep; empty if it has none."""
    found = ""
    for event in events:
        if event["run"] == SWEEP:
            found = event.get("tags", {}).get(tag, found)
    return found


class Hearer(Protocol):
    """What learns from what trials report, such as :class:`search.stopping.scheduler.ParetoScheduler`."""

    def learn(self, name: str, recipe: Recipe, result: Mapping[str, Any]) -> str:
        """A trial reported."""
        ...

    def begin(self, name: str, recipe: Recipe) -> None:
        """A trial began that takes no other up."""
        ...

    def ended(self, name: str, state: str) -> None:
        """A trial ended: finished, pruned or failed."""
        ...

    def take_up(self, name: str, as_name: str) -> None:
        """A pruned trial went on as another one."""
        ...


def replay(events: Iterable[Event], hearer: Hearer) -> None:
    """Tell ``hearer`` what it heard in a driver that logged ``events``, in the same order.

    It hears of what trials report, and so of no student that was trained beside a trial's own.
    """
    recipes: dict[str, Recipe] = {}
    for event in events:
        key, kind = event["run"], event["kind"]
        if key == SWEEP:
            continue
        if kind == "start" and TRAINED_WITH_TAG not in event["tags"]:
            recipes[key] = _recipe(event)
            if CONTINUES in event["tags"]:
                hearer.take_up(event["tags"][CONTINUES], key)
            else:
                hearer.begin(key, recipes[key])
        elif key not in recipes:
            continue
        elif kind == "epoch":
            hearer.learn(key, recipes[key], {**event["metrics"], "epoch": event["step"]})
        elif kind == "end":
            hearer.ended(key, event["state"])
