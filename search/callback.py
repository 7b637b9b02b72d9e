"""What happens when a trial starts, reports or ends: tracking and display hear of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from ray.tune import Callback
from ray.tune.experiment import Trial

from search.mlflow_client import SEEDLESS_TAG, TENSORS_FILE
from search.tracking import SweepTracker, signature_tags
from trainables.contents import contents_json
from trainables.metrics import COSTS, quality_of
from trainables.recipe import Recipe, recipe_from_dict, short_name, summary
from trainables.trainable import STUDENT_FILE

EPOCH_METRICS = ("loss", "packed_bytes", "seconds")


@dataclass
class Record:
    """One trial as the driver knows it.

    Attributes:
        trial_id: the searcher's, five digits, unique in the sweep; Ray's own id changes with every start.
        recipe: what it trains.
        state: ``running``, ``finished``, ``failed``, ``stopped`` or ``pruned``.
        reason: why it failed, was pruned, or has no latency.
        copied_from: ``<sweep>/<trial>`` of the earlier trial that made its student, or nothing.
        machine: fingerprint of the machine that its latency was measured on, as JSON.
        metrics: the last reported.
        packed: the file it shipped, once finished.
    """

    trial_id: str
    recipe: Recipe
    state: str = "running"
    reason: str = ""
    copied_from: str = ""
    machine: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    packed: bytes | None = None

    @property
    def name(self) -> str:
        """A name to read; not unique."""
        return short_name(self.recipe)


class Watcher(Protocol):
    """Someone who wants to know how the sweep goes."""

    def changed(self, records: Mapping[str, Record]) -> None:
        """Called when a trial started, reported or ended."""
        ...


class TrialEvents(Callback):
    """Ray Tune's callback: keeps the records, tells the tracker and the watcher.

    Args:
        tracker: is told of every start, epoch and end.
        watcher: likewise.
        metric: the task's; it says what is reported.
    """

    def __init__(self, tracker: SweepTracker, watcher: Watcher, metric: str) -> None:
        super().__init__()
        self.records: dict[str, Record] = {}
        self._tracker = tracker
        self._watcher = watcher
        quality = quality_of(metric)
        self._qualities = tuple(each.validation for each in quality.reported)
        self._costs = tuple(cost.name for cost in (*COSTS, *quality.costs))

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        recipe = recipe_from_dict(json.loads(trial.config["recipe"]))
        record = Record(_key(trial), recipe)
        self.records[record.trial_id] = record
        signatures = signature_tags(recipe.task.signatures())
        tags = {**summary(recipe), "recipe_id": recipe.recipe_id, **signatures}
        tags[SEEDLESS_TAG] = replace(recipe, seed=0).recipe_id
        self._tracker.start_trial(record.trial_id, record.name, recipe.to_dict(), tags)
        self._watcher.changed(self.records)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        record = self.records[_key(trial)]
        kept = (*self._costs, *self._qualities, "epoch")
        record.metrics |= {k: v for k, v in result.items() if k in kept}
        wanted = (*EPOCH_METRICS, *self._qualities)
        metrics = {k: result[k] for k in wanted if k in result and math.isfinite(result[k])}
        self._tracker.log_epoch(record.trial_id, int(result["epoch"]), metrics)
        self._watcher.changed(self.records)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        record = self.records[_key(trial)]
        result = trial.last_result
        record.state, record.reason = result.get("state", "stopped"), result.get("reason", "")
        record.copied_from = result.get("copied_from", "")
        record.machine = result.get("latency_machine", "")
        if record.state == "running":
            record.state = "stopped"
        if record.state == "finished":
            try:
                record.packed = _packed_file(trial)
            except OSError as error:
                record.state, record.reason = "failed", f"its packed file was lost: {error}"
        self._end(record)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        if _key(trial) not in self.records:  # it failed before it could start
            self.on_trial_start(iteration, trials, trial)
        record = self.records[_key(trial)]
        record.state, record.reason = "failed", root_cause(_error_text(trial))
        self._end(record)

    def _end(self, record: Record) -> None:
        metrics = {k: record.metrics[k] for k in self._costs if k in record.metrics}
        tags = {
            "reason": record.reason or None,
            "latency_machine": record.machine or None,
            "copied_from": record.copied_from or None,
        }
        files = {} if record.packed is None else {STUDENT_FILE: record.packed}
        if record.packed is not None:  # for pages, which have no torch to open the file
            files[TENSORS_FILE] = contents_json(record.packed)
        self._tracker.finish_trial(record.trial_id, record.state, metrics, tags, files)
        self._watcher.changed(self.records)


def _key(trial: Trial) -> str:
    return str(trial.config["trial"])


def _packed_file(trial: Trial) -> bytes:
    if trial.checkpoint is None:
        raise FileNotFoundError("there is no checkpoint")
    with trial.checkpoint.as_directory() as folder:
        return (Path(folder) / STUDENT_FILE).read_bytes()


def root_cause(text: str) -> str:
    """What went wrong, from Ray's error text, in one line of at most 300 characters.

    Of an exception in a trial that is the last line of its traceback; of a process that died, the first
    line of what Ray says.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("Failure #")]
    if not lines:
        return "the trial's process ended without a word"
    raised = any(line.startswith('File "') for line in lines)
    return (lines[-1] if raised else lines[0])[:300]


def _error_text(trial: Trial) -> str:
    """Ray's text of the last error; its pickled twin is left alone."""
    path = trial.error_file
    return Path(path).read_text() if path is not None and Path(path).is_file() else ""
