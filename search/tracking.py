"""Writes a sweep to MLflow: one parent run, one child run per trial, all calls on one background thread."""

from __future__ import annotations

import json
import math
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse
from urllib.request import url2pathname

from search.mlflow_client import (
    EXPERIMENT_PREFIX,
    KIND_TAG,
    METRIC_TAG,
    PARENT_TAG,
    RECIPE_TAG,
    SIGNATURE_TAG,
    STATE_TAG,
    STUDY_TAG,
    SWEEP_TAG,
    TRIAL_TAG,
    StoreError,
    check_artifact_name,
    connect,
    reason,
    shown,
)
from trainables.metrics import quality_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

STATUSES = {"finished": "FINISHED", "failed": "FAILED", "stopped": "KILLED"}
RECIPE_FILE = "recipe.json"
STORED_AS = {"recipe_id": RECIPE_TAG, "sparsity": "sparsity_target"}
"""Tags that would be misread beside the metrics of the same name get another."""

OPEN_SECONDS = 60.0
FLUSH_SECONDS = 60.0
LINGER_SECONDS = 2.0
PARAMS_PER_BATCH, TAGS_PER_BATCH, METRICS_PER_BATCH = 100, 100, 800  # MLflow: 100, 100 and 1000 in all
PARAM_LENGTH, TAG_LENGTH = 6000, 8000  # what MLflow stores
_SWEEP = ""  # the parent run's place among the trial ids
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class SweepExists(StoreError):
    """The store has a sweep of that name already."""


class TrackingError(StoreError):
    """Something was not written; the message says what and why."""


@dataclass
class _Trial:
    """What the caller's side remembers of a run."""

    name: str
    step: int = 0
    ended: bool = False


@dataclass
class _Creation:
    """What a run that is not there yet needs in order to exist."""

    name: str
    start: int
    tags: dict[str, str]


@dataclass
class _Update:
    """Everything that is to be written to one run with the next batch."""

    creation: _Creation | None = None
    params: dict[str, str] = field(default_factory=dict)
    metrics: list[tuple[str, float, int, int]] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    status: str | None = None
    end: int | None = None


class SweepTracker:
    """Writes one sweep; only :meth:`open`, :meth:`flush` and :meth:`close` wait, and never without end.

    What is logged to a run within two seconds goes out in one batch. An error on the background
    thread is kept in :attr:`errors`, the other runs go on, and the next flush raises it.

    Args:
        tracking_uri: MLflow's store, as :func:`search.mlflow_client.connect` takes it.
        artifact_root: folder of the artifacts, made if missing; a server decides itself and ignores it.
        study: what is searched; the experiment is ``rayduce-<study>``.
        sweep: name of the sweep, unique in the store.

    Raises:
        ValueError: a name that cannot name a folder, or a database without ``artifact_root``.
    """

    def __init__(self, tracking_uri: str, artifact_root: Path | None, study: str, sweep: str) -> None:
        for kind, name in (("study", study), ("sweep", sweep)):
            if not _NAME.fullmatch(name):
                raise ValueError(
                    f"{kind} must be 1 to 100 letters, digits, '.', '_' or '-', the first a letter or digit, "
                    f"got {name!r}"
                )
        self._on_server = urlparse(tracking_uri).scheme in ("http", "https")
        if artifact_root is None and not self._on_server:
            raise ValueError(f"artifact_root is needed with the database {shown(tracking_uri)!r}")
        self._address = tracking_uri
        self._uri = shown(tracking_uri)
        self._artifact_root = None if artifact_root is None else artifact_root.absolute()
        self._study = study
        self._sweep = sweep
        self._errors: list[str] = []
        self._raised = 0
        self._clock = 0
        self._trials: dict[str, _Trial] = {}
        # Shared with the thread, under the condition.
        self._changed = threading.Condition()
        self._pending: dict[str, _Update] = {}
        self._sending: dict[str, _Update] = {}
        self._urgent = False
        self._closing = False
        self._opened = False
        # The thread's own.
        self._client: MlflowClient
        self._experiment = ""
        self._run_ids: dict[str, str] = {}
        self._folders: dict[str, Path | None] = {}
        self._creations: dict[str, _Creation] = {}

    @property
    def errors(self) -> tuple[str, ...]:
        """One sentence for each thing that could not be written."""
        return tuple(self._errors)

    @property
    def run_ids(self) -> dict[str, str]:
        """Trial id -> MLflow run id, for the trials written so far."""
        return {key: run_id for key, run_id in list(self._run_ids.items()) if key != _SWEEP}

    def open(self, params: Mapping[str, Any], tags: Mapping[str, Any], *, resume: bool = False) -> str:
        """Connect, and start the sweep's parent run.

        Args:
            params: settings of the sweep; nested ones get dotted names.
            tags: must hold ``rayduce.metric``, a name of :data:`trainables.metrics.QUALITIES`.
            resume: go on with the sweep of this name, if there is one; its trials keep their runs.

        Returns:
            The parent's run id.

        Raises:
            SweepExists: the store has a sweep of this name, and ``resume`` is off.
            StoreError: the store cannot be opened or written.
            ValueError: ``rayduce.metric`` is missing or unknown.
        """
        if not tags.get(METRIC_TAG):
            raise ValueError(f"tags must name the quality metric under {METRIC_TAG!r}, got {sorted(tags)}")
        quality_of(tags[METRIC_TAG])  # what nobody could read is not written
        ready: Future[str] = Future()
        plain_tags = {
            **_tags(tags),
            KIND_TAG: "sweep",
            STUDY_TAG: self._study,
            SWEEP_TAG: self._sweep,
            STATE_TAG: "running",
        }
        arguments = (ready, flatten(params), plain_tags, resume)
        threading.Thread(target=self._work, args=arguments, name="mlflow", daemon=True).start()
        try:
            run_id = ready.result(timeout=OPEN_SECONDS)
        except TimeoutError:
            self._closing = True
            raise StoreError(
                f"The MLflow store at {self._uri} did not answer within {OPEN_SECONDS:.0f} s."
            ) from None
        self._opened = True
        return run_id

    def start_trial(
        self, trial_id: str, name: str, recipe: Mapping[str, Any], tags: Mapping[str, Any]
    ) -> None:
        """Queue a child run. A trial that was started before goes on in the run it has.

        Args:
            trial_id: unique within the sweep.
            name: the run's name in lists.
            recipe: as :meth:`trainables.part.Part.to_dict` gives it; becomes params and ``recipe.json``.
            tags: facts to tell trials by, such as ``method`` and ``bits``; None means that there is none.
        """
        if not trial_id:
            raise ValueError("trial_id must not be empty")
        known = trial_id in self._trials
        trial = self._trials.setdefault(trial_id, _Trial(name))
        trial.ended = False
        now = self._now()
        with self._queued(trial_id) as update:
            if known:
                update.status, update.end = "RUNNING", None
                update.tags[STATE_TAG] = "running"
                return
            own = {
                PARENT_TAG: "",  # filled in by the thread
                KIND_TAG: "trial",
                STUDY_TAG: self._study,
                SWEEP_TAG: self._sweep,
                TRIAL_TAG: trial_id,
                STATE_TAG: "running",
            }
            update.creation = _Creation(name, now, {**_tags(tags), **own})
            update.params |= flatten(recipe)
            update.files[RECIPE_FILE] = _json(recipe)

    def log_epoch(self, trial_id: str, step: int, metrics: Mapping[str, float | None]) -> None:
        """Queue the metrics of one epoch; None means not measured and is left out, and so is infinity.

        Raises:
            ValueError: the trial was never started, or a metric is no number.
        """
        trial = self._known(trial_id)
        trial.step = max(trial.step, step)
        rows = _metrics(metrics, self._now(), step)
        with self._queued(trial_id) as update:
            update.metrics += rows

    def finish_trial(
        self,
        trial_id: str,
        state: str,
        metrics: Mapping[str, float | None],
        tags: Mapping[str, Any],
        files: Mapping[str, bytes],
    ) -> None:
        """Queue a trial's end.

        Args:
            trial_id: of a trial that was started.
            state: ``finished``, ``failed`` or ``stopped``.
            metrics: final values, logged at the trial's last step.
            tags: further facts; ``reason`` says in one line why a trial failed.
            files: artifact name -> content, such as ``student.rdz``.

        Raises:
            ValueError: unknown trial or state, a metric that is no number, an artifact name that leaves
                the run's folder.
        """
        trial = self._known(trial_id)
        self._end(trial_id, trial, state, metrics, tags, files)

    def annotate(self, run: str, metrics: Mapping[str, float | None], tags: Mapping[str, Any]) -> None:
        """Queue additions to a trial or to the sweep, ended or not.

        Args:
            run: a trial id, or the run id of a trial of this sweep or of the sweep itself.
            metrics: logged at the run's last step, so that they are the latest of their name.
            tags: added; a tag that is there gets the new value.

        Raises:
            ValueError: no such run in this sweep, or a metric is no number.
        """
        if run not in self._trials:
            run = next((key for key, run_id in list(self._run_ids.items()) if run_id == run), run)
        step = 0 if run == _SWEEP else self._known(run).step
        rows, plain = _metrics(metrics, self._now(), step), _tags(tags)
        with self._queued(run) as update:
            update.metrics += rows
            update.tags |= plain

    def finish_sweep(
        self,
        state: str,
        metrics: Mapping[str, float | None],
        tags: Mapping[str, Any],
        files: Mapping[str, bytes],
    ) -> None:
        """Queue the parent run's end; arguments as for :meth:`finish_trial`."""
        self._end(_SWEEP, self._known(_SWEEP), state, metrics, tags, files)

    def flush(self, timeout: float = FLUSH_SECONDS) -> None:
        """Wait until everything queued is written.

        Args:
            timeout: in seconds.

        Raises:
            TrackingError: something was not, since the last flush or within ``timeout``.
        """
        problem = self._wait(timeout)
        if problem:
            raise TrackingError(problem)

    def close(self, timeout: float = FLUSH_SECONDS) -> None:
        """End what still runs as stopped, write everything and stop the thread. Harmless when repeated.

        Raises:
            TrackingError: as for :meth:`flush`. While another exception is on its way, that one goes
                on and takes this as a note.
        """
        if not self._opened or self._closing:
            return
        for key, trial in sorted(self._trials.items(), reverse=True):  # the sweep, "", comes last
            if not trial.ended:
                why = {} if key == _SWEEP else {"reason": "the sweep ended before the trial did"}
                self._end(key, trial, "stopped", {}, why, {})
        problem = self._wait(timeout)
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if problem:
            active = sys.exception()
            if active is None:
                raise TrackingError(problem)
            active.add_note(problem)

    def _end(
        self,
        key: str,
        trial: _Trial,
        state: str,
        metrics: Mapping[str, float | None],
        tags: Mapping[str, Any],
        files: Mapping[str, bytes],
    ) -> None:
        if state not in STATUSES:
            raise ValueError(f"state must be one of {', '.join(STATUSES)}, got {state!r}")
        for name in files:
            check_artifact_name(name)
        now = self._now()
        rows, plain = _metrics(metrics, now, trial.step), _tags(tags)
        trial.ended = True
        with self._queued(key) as update:
            update.metrics += rows
            update.tags |= {**plain, STATE_TAG: state}
            update.files |= files
            update.status, update.end = STATUSES[state], now

    def _known(self, trial_id: str) -> _Trial:
        if trial_id not in self._trials:
            raise ValueError(f"no trial {trial_id!r} was started in the sweep {self._sweep!r}")
        return self._trials[trial_id]

    def _now(self) -> int:
        # Of two values with equal step and time MLflow calls the larger one the latest.
        self._clock = max(self._clock + 1, time.time_ns() // 1_000_000)
        return self._clock

    @contextmanager
    def _queued(self, key: str) -> Iterator[_Update]:
        """The update of one run that goes out next, under the lock."""
        self._check_open()
        with self._changed:
            yield self._pending.setdefault(key, _Update())
            self._changed.notify_all()

    def _check_open(self) -> None:
        if not self._opened or self._closing:
            raise RuntimeError(f"the tracker of the sweep {self._sweep!r} is not open")

    def _wait(self, timeout: float) -> str:
        """Wait for the thread; what went wrong since the last call, or an empty string."""
        self._check_open()
        with self._changed:
            self._urgent = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._pending and not self._sending, timeout)
            unsent = [self._label(key) for key in {**self._sending, **self._pending}]
            new, self._raised = self._errors[self._raised :], len(self._errors)
        if unsent:
            new.append(f"{_some(unsent)} could not be written within {timeout:g} s")
        return f"MLflow at {self._uri} does not have everything: {_some(new)}." if new else ""

    def _label(self, key: str) -> str:
        return f"the sweep {self._sweep}" if key == _SWEEP else f"the trial {self._trials[key].name} ({key})"

    # Below: the background thread.

    def _work(self, ready: Future[str], params: dict[str, str], tags: dict[str, str], resume: bool) -> None:
        try:
            run_id = self._start(params, tags, resume)
        except StoreError as error:
            ready.set_exception(error)
            return
        except Exception as error:  # it belongs to the caller of open()
            text = f"Cannot start the sweep in the MLflow store at {self._uri}: {reason(error)}."
            ready.set_exception(StoreError(text))
            return
        if self._closing:  # the caller has given up waiting
            self._client.set_terminated(run_id, "KILLED")
            return
        ready.set_result(run_id)
        while self._take():
            while self._sending and not self._closing:
                key, update = next(iter(self._sending.items()))
                self._deliver(key, update)
                with self._changed:
                    del self._sending[key]
                    self._changed.notify_all()

    def _take(self) -> bool:
        """Wait for something to send and move it to ``_sending``; False once the tracker is closed."""
        with self._changed:
            if not self._pending:
                self._urgent = False
            self._changed.wait_for(lambda: self._pending or self._closing)
            self._changed.wait_for(lambda: self._urgent or self._closing, LINGER_SECONDS)
            self._sending, self._pending = self._pending, {}
            return not self._closing

    def _start(self, params: dict[str, str], tags: dict[str, str], resume: bool) -> str:
        self._client = connect(self._address, create=True)
        name = EXPERIMENT_PREFIX + self._study
        experiments = self._client.search_experiments(filter_string=f"name LIKE '{EXPERIMENT_PREFIX}%'")
        own = next((e for e in experiments if e.name == name), None)
        self._experiment = own.experiment_id if own else self._create_experiment(name)
        found = self._client.search_runs(
            [e.experiment_id for e in experiments] or [self._experiment],
            f"tags.`{SWEEP_TAG}` = '{self._sweep}' and tags.`{KIND_TAG}` = 'sweep'",
            max_results=1,
        )
        if found and not resume:
            raise SweepExists(
                f"The store has a sweep named {self._sweep} already; choose another with --name."
            )
        self._trials[_SWEEP] = _Trial(self._sweep)
        if found:
            return self._adopt(found[0])
        self._creations[_SWEEP] = _Creation(self._sweep, self._now(), tags)
        run_id = self._run(_SWEEP)
        self._log(run_id, _Update(params=params))
        return run_id

    def _create_experiment(self, name: str) -> str:
        if self._on_server or self._artifact_root is None:
            return str(self._client.create_experiment(name))
        try:
            self._artifact_root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._artifact_root):
                pass
        except OSError as error:
            raise StoreError(
                f"Cannot write artifacts to {self._artifact_root}: {error.strerror}; "
                "choose another folder with --store."
            ) from error
        location = (self._artifact_root / name).as_uri()
        return str(self._client.create_experiment(name, artifact_location=location))

    def _adopt(self, parent: Run) -> str:
        """Go on with the sweep of ``parent``: its trials' runs are looked up so that none is made twice."""
        self._experiment = parent.info.experiment_id
        parent_id = self._remember(_SWEEP, parent)
        self._client.update_run(parent_id, status="RUNNING")
        self._client.set_tag(parent_id, STATE_TAG, "running")
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment],
                f"tags.`{PARENT_TAG}` = '{parent_id}'",
                max_results=1000,
                page_token=token,
            )
            for run in page:
                trial_id = run.data.tags.get(TRIAL_TAG)
                if trial_id:
                    running = run.info.status == "RUNNING"
                    trial = _Trial(run.info.run_name, self._last_step(run), ended=not running)
                    self._trials[trial_id] = trial
                    self._remember(trial_id, run)
            token = page.token
            if not token:
                return parent_id

    def _last_step(self, run: Run) -> int:
        histories = (self._client.get_metric_history(run.info.run_id, key) for key in run.data.metrics)
        return max((metric.step for history in histories for metric in history), default=0)

    def _remember(self, key: str, run: Run) -> str:
        run_id: str = run.info.run_id
        location = urlparse(run.info.artifact_uri)
        # MLflow would read the run again before each artifact only to learn this folder.
        local = location.scheme == "file" and not self._on_server
        self._folders[key] = Path(url2pathname(location.path)) if local else None
        self._run_ids[key] = run_id
        return run_id

    def _run(self, key: str, tags: Mapping[str, str] | None = None) -> str:
        """The run's id; creates the run if it is not there yet."""
        if key in self._run_ids:
            return self._run_ids[key]
        creation = self._creations[key]
        own = {**creation.tags, **(tags or {})}
        if key != _SWEEP:
            own[PARENT_TAG] = self._run_ids[_SWEEP]
        run = self._client.create_run(
            self._experiment, start_time=creation.start, tags=own, run_name=creation.name
        )
        return self._remember(key, run)

    def _deliver(self, key: str, update: _Update) -> None:
        """Write one run's update. Each part is tried: a bad metric must not leave a run RUNNING for ever."""
        if update.creation is not None:
            self._creations[key] = update.creation
        try:
            if key not in self._run_ids:
                run_id, update.tags = self._run(key, update.tags), {}  # tags are cheapest at creation
            else:
                run_id = self._run_ids[key]
        except Exception as error:  # whatever MLflow raises: the other runs go on
            self._fail(key, "nothing of the run", error)
            return
        try:
            self._log(run_id, update)
        except Exception as error:  # whatever MLflow raises, the other parts are still tried
            self._fail(key, f"{len(update.metrics)} metrics, {len(update.params)} params, tags", error)
        try:
            self._store(key, run_id, update.files)
        except Exception as error:  # whatever MLflow raises, the other parts are still tried
            self._fail(key, f"the files {', '.join(update.files)}", error)
        try:
            if update.status == "RUNNING":
                self._client.update_run(run_id, status="RUNNING")
            elif update.status is not None:
                self._client.set_terminated(run_id, update.status, end_time=update.end)
        except Exception as error:  # whatever MLflow raises, the other parts are still tried
            self._fail(key, f"its end as {update.status}", error)

    def _log(self, run_id: str, update: _Update) -> None:
        from mlflow.entities import Metric, Param, RunTag

        params = [Param(key, value) for key, value in update.params.items()]
        tags = [RunTag(key, value) for key, value in update.tags.items()]
        metrics = [Metric(*row) for row in update.metrics]
        while params or tags or metrics:
            self._client.log_batch(
                run_id, metrics[:METRICS_PER_BATCH], params[:PARAMS_PER_BATCH], tags[:TAGS_PER_BATCH]
            )
            del metrics[:METRICS_PER_BATCH], params[:PARAMS_PER_BATCH], tags[:TAGS_PER_BATCH]

    def _store(self, key: str, run_id: str, files: Mapping[str, bytes]) -> None:
        if not files:
            return
        folder = self._folders[key]
        if folder is not None:
            _write(folder, files)
            return
        with tempfile.TemporaryDirectory(prefix="rayduce-") as scratch:
            _write(Path(scratch), files)
            self._client.log_artifacts(run_id, scratch)

    def _fail(self, key: str, what: str, error: Exception) -> None:
        self._errors.append(f"{self._label(key)} lacks {what}: {reason(error)}")


def flatten(data: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested JSON data as params with dotted names.

    The ``type`` of a part becomes the value under the part's own name, list items are numbered from 0,
    and text is cut at the length that MLflow stores.
    """
    flat: dict[str, str] = {}
    for key, value in data.items():
        if key == "type":
            if prefix:
                flat[prefix[:-1]] = _cut(value, PARAM_LENGTH)
            continue
        name = f"{prefix}{key}"
        if isinstance(value, (list, tuple)):
            if not any(isinstance(item, Mapping) for item in value):
                flat[name] = _cut(" ".join(map(str, value)) or "none", PARAM_LENGTH)
                continue
            value = dict(zip(map(str, range(len(value))), value, strict=True))
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{name}.")
        else:
            flat[name] = _cut(value, PARAM_LENGTH)
    return flat


def signature_tags(signatures: Mapping[str, str]) -> dict[str, str]:
    """Tags that say how metrics were computed, such as ``signature.bleu``, to be written to their runs."""
    return {SIGNATURE_TAG + metric: text for metric, text in signatures.items()}


def _json(recipe: Mapping[str, Any]) -> bytes:
    return (json.dumps(recipe, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def _metrics(metrics: Mapping[str, float | None], time: int, step: int) -> list[tuple[str, float, int, int]]:
    rows = []
    for key, value in metrics.items():
        if value is None:
            continue
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise ValueError(f"the metric {key} must be a number, got {value!r}") from None
        if not math.isinf(number):  # MLflow would store the largest float, which then looks measured
            rows.append((key, number, time, step))
    return rows


def _tags(tags: Mapping[str, Any]) -> dict[str, str]:
    return {STORED_AS.get(k, k): _cut(v, TAG_LENGTH) for k, v in tags.items() if v is not None}


def _cut(value: Any, length: int) -> str:
    text = str(value)
    return text if len(text) <= length else text[: length - 1] + "…"


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write beside and rename, so that a reader never sees half a file."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.part")
        beside.write_bytes(content)
        os.replace(beside, path)


def _some(items: list[str], most: int = 3) -> str:
    rest = f" (and {len(items) - most} more)" if len(items) > most else ""
    return "; ".join(items[:most]) + rest
