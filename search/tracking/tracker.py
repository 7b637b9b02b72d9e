"""Tells MLflow of a sweep: events go into the sweep's log, and one background thread delivers them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from search.log.event_log import EventLog
from search.log.events import NAME, STATUSES, SWEEP, check_event, check_files
from search.log.folder import DeliveryMark, SweepFolder
from search.store.mlflow_client import (
    KIND_TAG,
    METRIC_TAG,
    NOTE_TAG,
    STATE_TAG,
    STUDY_TAG,
    SWEEP_TAG,
    TRIAL_TAG,
    StoreError,
    check_artifact_name,
    masked,
)
from search.tracking.courier import Courier
from search.tracking.delivery import Delivery
from search.tracking.told_runs import ToldRuns
from search.tracking.values import flatten, metric_values, some_of, tag_values
from trainables.metrics import quality_of

FLUSH_SECONDS = 60.0


class SweepExists(StoreError):
    """The store has a sweep of that name already."""


class TrackingError(StoreError):
    """Something was not delivered; the message says what and why."""


class SweepTracker:
    """Tells MLflow of one sweep, and survives what happens to it.

    Every call writes one event to the sweep's log, flushed to the operating system, and returns; ends of
    trials wait for the disk. A thread delivers the log in order and remembers durably how far it came. While
    the store does not answer it tries again, for as long as the tracker is open; what it has delivered twice
    is there once. Only :meth:`open`, :meth:`flush` and :meth:`close` wait, and never without end.

    What MLflow refuses for good is kept in :attr:`errors`, the rest goes on, and the next flush raises it.

    Args:
        tracking_uri: MLflow's store, as :func:`search.store.mlflow_client.connect` takes it.
        store: folder of the sweep's files; with a database, of the artifacts too.
        study: what is searched; the experiment is ``rayduce-<study>``.
        sweep: name of the sweep, unique in the store.

    Attributes:
        folder: where the sweep's files are.

    Raises:
        ValueError: a name that cannot name a folder.
    """

    def __init__(self, tracking_uri: str, store: Path, study: str, sweep: str) -> None:
        for kind, name in (("study", study), ("sweep", sweep)):
            if not NAME.fullmatch(name):
                raise ValueError(
                    f"{kind} must be 1 to 100 letters, digits, '.', '_' or '-', the first a letter or digit, "
                    f"got {name!r}"
                )
        self._uri = masked(tracking_uri)
        self._store = store.absolute()
        self.folder = SweepFolder(self._store, sweep)
        self._study = study
        self._sweep = sweep
        self._runs = ToldRuns(sweep)
        self._log: EventLog | None = None
        self._delivery = Delivery(tracking_uri, self._store, study, sweep)
        self._courier = Courier(
            self._delivery,
            DeliveryMark(self.folder, tracking_uri),
            self._uri,
            on_server=urlparse(tracking_uri).scheme in ("http", "https"),
        )

    @property
    def errors(self) -> tuple[str, ...]:
        """One sentence for each thing that MLflow refused."""
        return tuple(map(self._runs.refusal, self._courier.refused))

    @property
    def no_room(self) -> str:
        """Why MLflow's database or artifacts on this machine cannot be written now; empty if they can."""
        return self._courier.no_room

    @property
    def undelivered(self) -> bool:
        """Whether events wait to be delivered."""
        return self._courier.behind

    @property
    def address(self) -> str:
        """MLflow's store, without a password."""
        return self._uri

    def has_file(self, run: str, name: str) -> bool:
        """Whether the log tells of the artifact ``name`` of a run."""
        return run in self._runs and name in self._runs[run].files

    @property
    def run_ids(self) -> dict[str, str]:
        """Trial id -> MLflow run id, for the trials delivered so far."""
        return {key: run_id for key, run_id in list(self._delivery.run_ids.items()) if key != SWEEP}

    def open(
        self,
        params: Mapping[str, Any],
        tags: Mapping[str, Any],
        *,
        settings: Mapping[str, Any] | None = None,
        resume: bool = False,
    ) -> None:
        """Start the sweep, or go on with it.

        Args:
            params: of the parent run; nested ones get dotted names.
            tags: must hold ``rayduce.metric``, what :func:`trainables.metrics.spelled` gives.
            settings: what it takes to go on with the sweep, kept in its log.
            resume: go on with the sweep of this name, of which there is a log. ``params``, ``tags`` and
                ``settings`` stay what they were, and a server that does not answer is waited for later.

        Raises:
            SweepExists: the store has a sweep of this name, and ``resume`` is off.
            StoreError: the store cannot be opened or written.
            ValueError: ``rayduce.metric`` is missing or unknown.
        """
        if not tags.get(METRIC_TAG):
            raise ValueError(f"tags must name the quality metric under {METRIC_TAG!r}, got {sorted(tags)}")
        quality_of(tags[METRIC_TAG])  # what nobody could read is not written
        events = self.folder.events()
        if events and not resume:
            place = shlex.quote(str(self.folder.store))
            raise SweepExists(
                f"The store has a sweep named {self._sweep} already; go on with it by "
                f"`rayduce resume {self._sweep} --store {place}`, or choose another with --name."
            )
        for event in events:
            self._runs.hear(event)
        if self._courier.start(resume=resume) and not resume:
            self.abandon()
            raise SweepExists(
                f"The store has a sweep named {self._sweep} already; choose another with --name."
            )
        try:
            self._log = EventLog(self.folder.log, self._sweep)
            self._courier.follow(self._log)
            if not events:
                self._log_start(params, tags, settings or {})
        except OSError as error:
            raise StoreError(
                f"Cannot write to the store's folder {self._store}: {error.strerror}; "
                "choose another with --store."
            ) from error

    def go_on(self, note: str) -> None:
        """Log that a sweep that had ended runs again; ``note`` is its description until the next end."""
        self._write("again", SWEEP, tags={"reason": "", NOTE_TAG: note})  # not those of the end that was none

    def start_trial(
        self, trial_id: str, name: str, recipe: Mapping[str, Any], tags: Mapping[str, Any]
    ) -> None:
        """Log a trial's start. One that was started before goes on in the run it has.

        Args:
            trial_id: unique within the sweep.
            name: the run's name in lists.
            recipe: as :meth:`trainables.part.Part.to_dict` gives it; becomes params and ``recipe.json``.
            tags: facts to tell trials by, such as ``method`` and ``bits``; None means that there is none.
        """
        if not trial_id:
            raise ValueError("trial_id must not be empty")
        if trial_id in self._runs:
            self._write("again", trial_id)
            return
        own = {
            KIND_TAG: "trial",
            SWEEP_TAG: self._sweep,
            TRIAL_TAG: trial_id,
            STATE_TAG: "running",
        }
        plain = {**tag_values(tags), **own}
        self._write("start", trial_id, name=name, params=flatten(recipe), tags=plain, recipe=dict(recipe))

    def log_epoch(self, trial_id: str, step: int, metrics: Mapping[str, float | None]) -> None:
        """Log the metrics of one epoch; None means not measured and is left out, and so is infinity.

        Raises:
            ValueError: the trial was never started, or a metric is no number.
        """
        self._runs.check(trial_id)
        self._write("epoch", trial_id, step=step, metrics=metric_values(metrics))

    def finish_trial(
        self,
        trial_id: str,
        state: str,
        metrics: Mapping[str, float | None],
        tags: Mapping[str, Any],
        files: Mapping[str, Path],
    ) -> None:
        """Log a trial's end; when this returns, it is on the disk.

        Args:
            trial_id: of a trial that was started.
            state: ``finished``, ``failed``, ``pruned`` or ``stopped``; what was stopped may go on.
            metrics: final values, logged at the trial's last step.
            tags: further facts; ``reason`` says in one line why a trial failed or was pruned.
            files: artifact name -> file in one of the sweep's own folders, such as ``student.rdz``. It must
                stay there until it has been delivered.

        Raises:
            ValueError: unknown trial or state, a metric that is no number, an artifact name that leaves
                the run's folder, a file that is not the sweep's own.
        """
        self._end(trial_id, state, metrics, tags, files)

    def annotate(
        self,
        run: str,
        metrics: Mapping[str, float | None],
        tags: Mapping[str, Any],
        files: Mapping[str, Path] | None = None,
    ) -> None:
        """Log additions to a trial or to the sweep, ended or not.

        Args:
            run: a trial id, or :data:`search.tracking.delivery.SWEEP` for the sweep itself.
            metrics: logged at the run's last step, so that they are the latest of their name.
            tags: added; a tag that is there gets the new value.
            files: as for :meth:`finish_trial`.

        Raises:
            ValueError: no such run in this sweep, a metric is no number, a file that cannot be kept.
        """
        step = self._runs[run].step
        rows, plain, paths = metric_values(metrics), tag_values(tags), self._paths(files or {})
        self._write("note", run, step=step, metrics=rows, tags=plain, files=paths)

    def finish_sweep(
        self,
        state: str,
        metrics: Mapping[str, float | None],
        tags: Mapping[str, Any],
        files: Mapping[str, Path],
        *,
        aliases: Mapping[str, str] | None = None,
        descriptions: Mapping[str, str] | None = None,
    ) -> None:
        """Log the parent run's end; arguments as for :meth:`finish_trial`, and

        Args:
            aliases: of the registered model, each with the trial that it names; None leaves the registry
                alone.
            descriptions: of those trials' versions, as Markdown.

        Raises:
            ValueError: an alias of a trial that was never started, or one without a description.
        """
        more: dict[str, Any] = {}
        if aliases is not None:
            for trial_id in aliases.values():
                self._runs.check(trial_id)
                if trial_id not in (descriptions or {}):
                    raise ValueError(f"the version of the trial {trial_id!r} needs a description")
            more = {"aliases": dict(aliases), "descriptions": dict(descriptions or {})}
        self._end(SWEEP, state, metrics, tags, files, **more)

    def stop_trials(self) -> None:
        """End what still runs as ``stopped``; it may go on later."""
        for key in self._runs.open_trials():
            self._end(key, "stopped", {}, {}, {})

    def flush(self, timeout: float = FLUSH_SECONDS) -> None:
        """Wait until everything logged is delivered.

        Args:
            timeout: in seconds.

        Raises:
            TrackingError: something was refused since the last flush, or is not delivered after ``timeout``.
        """
        problem = self._wait(timeout)
        if problem:
            raise TrackingError(problem)

    def close(self, timeout: float = FLUSH_SECONDS) -> None:
        """End what still runs as stopped, deliver everything and stop the thread. Harmless when repeated.

        Raises:
            TrackingError: as for :meth:`flush`. While another exception is on its way, that one goes
                on and takes this as a note.
        """
        if self._log is None or self._courier.stopped:
            self.abandon()
            return
        self.stop_trials()
        if SWEEP in self._runs and not self._runs[SWEEP].ended:
            self._end(SWEEP, "stopped", {}, {}, {})
        problem = self._wait(timeout)
        self.abandon()
        if problem:
            active = sys.exception()
            if active is None:
                raise TrackingError(problem)
            active.add_note(problem)

    def abandon(self) -> None:
        """Stop the thread as it is and log nothing more: for a store that cannot be written."""
        self._courier.stop()

    def _log_start(
        self, params: Mapping[str, Any], tags: Mapping[str, Any], settings: Mapping[str, Any]
    ) -> None:
        own = {
            KIND_TAG: "sweep",
            STUDY_TAG: self._study,
            SWEEP_TAG: self._sweep,
            STATE_TAG: "running",
        }
        self._write(
            "open",
            SWEEP,
            name=self._sweep,
            study=self._study,
            params=flatten(params),
            tags={**tag_values(tags), **own},
            settings=dict(settings),
        )

    def _end(
        self,
        key: str,
        state: str,
        metrics: Mapping[str, float | None],
        tags: Mapping[str, Any],
        files: Mapping[str, Path],
        **more: Any,
    ) -> None:
        step = self._runs[key].step
        if state not in STATUSES:
            raise ValueError(f"state must be one of {', '.join(STATUSES)}, got {state!r}")
        rows, plain, paths = metric_values(metrics), tag_values(tags), self._paths(files)
        self._write("end", key, step=step, state=state, metrics=rows, tags=plain, files=paths, **more)

    def _paths(self, files: Mapping[str, Path]) -> dict[str, str]:
        for name, path in files.items():
            check_artifact_name(name)
            if not path.absolute().is_relative_to(self._store):
                raise ValueError(f"a file must be the sweep's own, in the store {self._store}, got {path}")
        found = {name: path.absolute().relative_to(self._store).as_posix() for name, path in files.items()}
        check_files(found, self._sweep)
        return found

    def _write(self, kind: str, run: str, **content: Any) -> None:
        """Append one event; what it tells about the run is remembered."""
        log = self._open_log()
        event = check_event({"kind": kind, "run": run, "time": self._runs.now(), **content})
        log.append(event, durable=kind in ("open", "end"))
        self._runs.hear(event)
        self._courier.wake()

    def _open_log(self) -> EventLog:
        if self._log is None or self._courier.stopped:
            raise RuntimeError(f"the tracker of the sweep {self._sweep!r} is not open")
        return self._log

    def _wait(self, timeout: float) -> str:
        """Wait for the courier; what went wrong since the last call, or an empty string."""
        self._open_log()
        arrears = self._courier.wait(timeout)
        new = [self._runs.refusal(each) for each in arrears.refused]
        if arrears.late:
            why = f": {arrears.trouble}" if arrears.trouble else f" within {timeout:g} s"
            new.append(
                f"{some_of([self._runs.label(key) for key in arrears.late])} could not be written{why}"
            )
        return f"MLflow at {self._uri} does not have everything: {some_of(new)}." if new else ""
