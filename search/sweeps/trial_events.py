"""What happens when a trial starts, reports or ends: tracking and display hear of it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ray.tune import Callback
from ray.tune.experiment import Trial

from search.objectives.certainty import SURENESS
from search.objectives.yardstick import Yardstick
from search.reporter import Watcher
from search.sampling.samplers import CONTINUES
from search.store.mlflow_client import NOTE_TAG, SEEDLESS_TAG, TRAINED_WITH_TAG, StoreError
from search.sweeps.answering import TeacherAnswers, kept_file
from search.sweeps.halt import Halt
from search.tracking.notes import trial_note
from search.tracking.record import Record, kept_metrics, standing
from search.tracking.tracker import SweepTracker
from search.tracking.trained import SHARED_EPOCHS
from search.tracking.values import signature_tags
from trainables.files import TENSORS_FILE, write_file
from trainables.naming import summary
from trainables.recipe import Recipe, recipe_from_dict
from trainables.tracebacks import TRACEBACK, TRACEBACK_FILE, traceback_text, without_secrets
from trainables.training.trial_folder import STUDENT_FILE, StoreTrouble

EPOCH_METRICS = ("loss", "packed_bytes", "seconds", SHARED_EPOCHS, "shared_seconds")


class TrialEvents(Callback):
    """Ray Tune's callback: keeps the records, tells the tracker and the watcher.

    Ray takes an exception out of most of these calls for an error of the trial. So what concerns the sweep
    is handed to ``halt``, whose reason is raised between two events; after that nothing is noted any more.

    Args:
        tracker: is told of every start, epoch and end.
        watcher: likewise.
        yardstick: of the sweep; its quality says what is reported.
        records: of the trials of an interrupted sweep.
        halt: ends the sweep.
        beside: looks between two events after what is made beside the trials; default there is nothing.
        answers: the teacher's, which finished students are compared with; default none.
    """

    def __init__(
        self,
        tracker: SweepTracker,
        watcher: Watcher,
        yardstick: Yardstick,
        *,
        records: Mapping[str, Record] | None = None,
        halt: Halt | None = None,
        beside: Callable[[], None] | None = None,
        answers: TeacherAnswers | None = None,
    ) -> None:
        super().__init__()
        self.records: dict[str, Record] = dict(records or {})
        self.halt = halt or Halt()
        self._tracker = tracker
        self._watcher = watcher
        self._ray_trials: list[Trial] = []
        self._yardstick = yardstick
        self._beside = beside
        self._answers = answers
        for record in self.records.values():
            if record.state == "finished":
                record.over = yardstick.over(record.metrics)
        kept = kept_metrics(yardstick.quality)
        self._qualities, self._costs, self._kept = kept.qualities, (*kept.costs, *SURENESS), kept.names

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        self._ray_trials = trials
        if self._tracker.no_room:
            self.halt.request(StoreError(f"MLflow's store cannot be written: {self._tracker.no_room}"))
        if self._beside is not None:
            self._note(self._beside)
        self.halt.check()

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._note(lambda: self._start(trial))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        self._note(lambda: self._report(self.records[_key(trial)], result))

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self._check_store(_error_text(trial))

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        _forget(trial)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        _forget(trial)

    def ended(self, ray_id: str, result: Mapping[str, Any] | None, error: bool) -> None:
        """Note a trial's end, before the searcher hears of it; noted once, it stays.

        Args:
            ray_id: Ray's name of the trial.
            result: the last one, if there is one.
            error: whether its process died, four times.
        """
        trial = next(trial for trial in self._ray_trials if trial.trial_id == ray_id)
        self._note(lambda: self._finish(trial, result or {}, error))

    def _start(self, trial: Trial) -> None:
        record = self.records.get(_key(trial))
        if record is not None and record.ended:
            return
        if record is None:
            recipe = recipe_from_dict(json.loads(trial.config["recipe"]))
            continues = trial.config.get(CONTINUES, "")
            record = self.records[_key(trial)] = Record(_key(trial), recipe, continues=continues)
        self._open(record)

    def _open(self, record: Record) -> None:
        record.state = "running"
        recipe = record.recipe
        signatures = signature_tags(recipe.task.signatures())
        tags = {**summary(recipe), "recipe_id": recipe.recipe_id, **signatures}
        tags |= {CONTINUES: record.continues or None, TRAINED_WITH_TAG: record.trained_with or None}
        tags[SEEDLESS_TAG] = recipe.changed(partial(_from_seed, recipe.seed)).recipe_id
        tags[NOTE_TAG] = trial_note(record.described(), self._yardstick)
        self._tracker.start_trial(record.trial_id, record.name, recipe.to_dict(), tags)
        self._watcher.changed(self.records)

    def _report(self, record: Record, result: Mapping[str, Any]) -> None:
        epoch = int(result["epoch"])
        if record.ended or epoch <= record.metrics.get("epoch", -1):
            return  # trained again after the last checkpoint, and told already
        record.metrics |= {k: v for k, v in result.items() if k in self._kept}
        record.trained.hear(epoch, result)
        asked = (cost.name for cost in self._yardstick.asked)  # of which the first result has some
        wanted = dict.fromkeys((*EPOCH_METRICS, *self._qualities, *asked))
        metrics = {k: result[k] for k in wanted if k in result and math.isfinite(result[k])}
        metrics["trained"] = record.trainings
        self._tracker.log_epoch(record.trial_id, epoch, metrics)
        self._watcher.changed(self.records)

    def _finish(self, trial: Trial, result: Mapping[str, Any], error: bool) -> None:
        text = _error_text(trial) if error else ""
        if self._check_store(text):
            return
        if _key(trial) not in self.records:  # it failed before it could start
            self._start(trial)
        record = self.records[_key(trial)]
        if record.ended:
            return
        state, record.reason = result.get("state", "running"), result.get("reason", "")
        record.machine = result.get("latency_machine", "")
        record.copied_from = result.get("copied_from", "")
        if error:
            state, record.reason = "failed", root_cause(without_secrets(text))
        elif state == "finished":
            folder = self._tracker.folder.trials / record.trial_id
            record.packed_file = folder / STUDENT_FILE
            record.metrics |= {k: v for k, v in result.items() if k in self._kept}
            for number, each in enumerate(result.get("peers", ()), 2):  # before the end that they come with
                self._finish_peer(record, number, each, folder / str(number) / STUDENT_FILE)
        record.state = "pruned" if state == "running" else state
        if record.state == "failed" and (whole := result.get(TRACEBACK, "") or traceback_text(text)):
            folder = self._tracker.folder.trials / record.trial_id
            folder.mkdir(parents=True, exist_ok=True)
            write_file(folder / TRACEBACK_FILE, whole.encode(errors="replace"))
        for peer in self.records.values():  # begun to be noted by a driver that was killed
            if record.state != "finished" and peer.trained_with == record.trial_id and not peer.ended:
                peer.state, peer.reason = "failed", "the training that it was part of has not finished"
                self._end(peer)
        self._end(record)

    def _finish_peer(self, own: Record, number: int, result: Mapping[str, Any], file: Path) -> None:
        """Note a student that a finished trial trained beside its own; noted once, it stays."""
        key = f"{own.trial_id}.{number}"
        recipe = own.recipe.results[number - 1]
        peer = self.records.setdefault(key, Record(key, recipe, trained_with=own.trial_id))
        if peer.ended:
            return
        self._open(peer)
        peer.reason, peer.machine = result.get("reason", ""), result.get("latency_machine", "")
        peer.copied_from = result.get("copied_from", "")
        if result["state"] == "finished":
            self._report(peer, result)
            peer.packed_file = file
            peer.metrics |= {k: v for k, v in result.items() if k in self._kept}
        peer.state = result["state"]
        self._end(peer)

    def _end(self, record: Record) -> None:
        if record.packed_file is not None and self._answers is not None:
            record.metrics |= self._answers.compare_file(record.packed_file)
        metrics = {k: record.metrics[k] for k in self._costs if k in record.metrics}
        tags = {
            "reason": record.reason or None,
            "latency_machine": record.machine or None,
            "copied_from": record.copied_from or None,
            # Without a word on the front, which may change until the sweep has finished.
            NOTE_TAG: trial_note(record.described(), self._yardstick),
        }
        left: list[Record] = []
        if record.state == "finished":
            record.over = self._yardstick.over(record.metrics)
            left = self._join(record)
            tags |= standing(record)
        told = self._tracker.folder.trials / record.trial_id / TRACEBACK_FILE
        files = {TRACEBACK_FILE: told} if record.state == "failed" and told.exists() else {}
        if record.packed_file is not None:
            files = {STUDENT_FILE: record.packed_file}
            if (contents := record.packed_file.with_name(TENSORS_FILE)).exists():
                files[TENSORS_FILE] = contents
            files |= kept_file(record)
        self._tracker.finish_trial(record.trial_id, record.state, metrics, tags, files)
        for other in left:
            other.front = False
            self._tracker.annotate(other.trial_id, {}, standing(other))
        self._watcher.changed(self.records)

    def _join(self, record: Record) -> list[Record]:
        """Say whether a finished trial is on the front so far; returns those that no longer are.

        It is compared with the front alone: a trial that any dominates is dominated by one of the front.
        """
        members = {key: each.metrics for key, each in self.records.items() if each.front}
        front = self._yardstick.front({**members, record.trial_id: record.metrics})
        record.front = record.trial_id in front
        return [self.records[key] for key in members if key not in front]

    def _check_store(self, error: str) -> bool:
        """Whether an error is one of the store and none of the trial; then the sweep halts."""
        cause = root_cause(error) if error else ""
        _, name, what = cause.rpartition(f"{StoreTrouble.__name__}: ")
        if name:
            self.halt.request(StoreError(f"A trial cannot write to the store: {what}"))
        return bool(name)

    def _note(self, action: Callable[[], None]) -> None:
        """Do it unless the sweep is to end: what follows an event that was lost would look whole."""
        if self.halt.reason is not None:
            return
        try:
            action()
        except OSError as error:
            self.halt.request(error)


def _from_seed(first: int, recipe: Recipe) -> Recipe:
    """With its seed counted from ``first``."""
    return replace(recipe, seed=(recipe.seed - first) % 2**31)


def _key(trial: Trial) -> str:
    return str(trial.config["trial"])


def _forget(trial: Trial) -> None:
    """Drop Ray's running averages of a trial that has ended: 26 kB of each, for as long as the sweep runs."""
    trial.run_metadata.metric_analysis.clear()
    trial.run_metadata.metric_n_steps.clear()


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
