"""Delivers a sweep's events to MLflow, in order; delivering them twice leaves what once leaves."""

from __future__ import annotations

import os
import re
import tempfile
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse

from search.log.events import SWEEP, Event
from search.store.mlflow_client import (
    EXPERIMENT_PREFIX,
    EXPERIMENT_TAG,
    KIND_TAG,
    NOTE_TAG,
    PARENT_TAG,
    STUDY_TAG,
    SWEEP_TAG,
    TRIAL_TAG,
    StoreError,
    check_path,
    connect,
    database_path,
    reason,
)
from search.store.places import BESIDE, BESIDE_TAG, FOLDER, local_path, run_folder
from search.store.runs import all_experiments, how_to_restore
from search.tracking.model_registry import Registration, register
from search.tracking.trouble import raise_if_passing
from search.tracking.updates import (
    DESCRIPTION_LENGTH,
    NAME_LENGTH,
    PARAM_LENGTH,
    TAG_LENGTH,
    Update,
    fitting,
    mlflow_key,
    updates_of,
)
from trainables.files import read_inside, write_file
from trainables.foreign import shown

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

PARAMS_PER_BATCH, TAGS_PER_BATCH, METRICS_PER_BATCH = 100, 100, 800  # MLflow: 100, 100 and 1000 in all
_RUN_ID = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Step:
    """One thing to do in MLflow; doing it twice does no harm.

    Attributes:
        run: trial id, or :data:`SWEEP`.
        what: the run lacks without it.
        do: it.
    """

    run: str
    what: str
    do: Callable[[], None]


class Delivery:
    """Runs of one sweep in one MLflow store. Not for two threads at once.

    A run is found by its tags before it is made: a trial's by ``rayduce.trial_id`` below the sweep's, the
    sweep's by its name. MLflow takes params, tags and metrics a second time without doubling them.

    Args:
        tracking_uri: MLflow's store, as :func:`search.store.mlflow_client.connect` takes it.
        store: folder that the events' files are in; with a database, its ``artifacts`` holds MLflow's.
        study: what is searched; the experiment is ``rayduce-<study>``.
        sweep: name of the sweep.
    """

    def __init__(self, tracking_uri: str, store: Path, study: str, sweep: str) -> None:
        self._uri = tracking_uri
        self._store = store
        self._study = study
        self._sweep = sweep
        self._on_server = urlparse(tracking_uri).scheme in ("http", "https")
        self._experiment = ""
        self._client: MlflowClient
        self._artifacts: dict[str, str] = {}
        self._doubtful: set[str] = set()
        self.run_ids: dict[str, str] = {}

    def connect(self) -> bool:
        """Open the store and find the sweep's runs; True if the sweep has one.

        Raises:
            StoreError: the store cannot be opened or written.
        """
        # The client's own repetitions would make a run twice whose first answer was lost.
        os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
        self._client = connect(self._uri, create=True)
        try:
            return self._find_runs()
        except StoreError:
            raise
        except Exception as error:  # of a database's driver, of HTTP, of MLflow: there is no common kind
            raise StoreError(f"Cannot start the sweep in the MLflow store: {reason(error)}.") from error

    def steps(self, events: Iterable[Event]) -> deque[Step]:
        """What is to be done for ``events``, in the order in which they were logged, run by run."""
        found: deque[Step] = deque()
        events = list(events)
        for key, update in updates_of(events).items():
            many = f"{len(update.metrics)} metrics, {len(update.params)} params, tags"
            found += [
                Step(key, "everything", partial(self._create, key, update)),
                Step(key, many, partial(self._log, key, update)),
                *(
                    Step(key, f"the file {name}", partial(self._put_file, key, name, update))
                    for name in (*update.texts, *update.files)
                ),
                Step(key, f"its end as {update.status}", partial(self._end, key, update)),
            ]
        chosen = [event for event in events if "aliases" in event]
        if chosen:  # after the runs, of which the versions are names
            found.append(Step(SWEEP, "its students' registered names", partial(self._register, chosen[-1])))
        return found

    def deliver(
        self, steps: deque[Step], refused: list[tuple[str, str]], *, at_any_price: bool = False
    ) -> None:
        """Do the ``steps``, taking away what is done.

        Each is tried: a bad metric must not leave a run RUNNING for ever.

        Args:
            steps: of :meth:`steps`.
            refused: gets what MLflow refuses: of which run, and what it lacks for which reason.
            at_any_price: take a server's failures for refusals, so that one step cannot hold up all others.

        Raises:
            Away: the store does not answer; try again with what is left.
            NoRoom: it cannot be written; likewise.
        """
        while steps:
            step = steps[0]
            try:
                step.do()
            except Exception as error:  # likewise; what does not pass is told to the user
                raise_if_passing(error, at_any_price)
                refused.append((step.run, f"lacks {step.what}: {reason(error)}"))
                while step.run not in self.run_ids and len(steps) > 1 and steps[1].run == step.run:
                    del steps[1]
            steps.popleft()

    def _find_runs(self) -> bool:
        experiments = all_experiments(self._client)
        where = f"tags.`{SWEEP_TAG}` = '{self._sweep}' and tags.`{KIND_TAG}` = 'sweep'"
        ids = [e.experiment_id for e in experiments]
        found = self._client.search_runs(ids, where, max_results=1) if ids else []
        own = self._choose(experiments, found[0].info.experiment_id if found else None)
        self._experiment = own.experiment_id if own else self._create_experiment()
        if not found:
            return False
        self._experiment = found[0].info.experiment_id
        self._remember(SWEEP, found[0])
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment],
                self._child(),
                max_results=1000,
                order_by=["start_time ASC"],
                page_token=token,
            )
            for run in page:
                trial_id = run.data.tags.get(TRIAL_TAG)
                if trial_id in self.run_ids:  # made twice: the answer to the first request was lost
                    self._client.delete_run(run.info.run_id)
                elif trial_id:
                    self._remember(trial_id, run)
            token = page.token
            if not token:
                return True

    def _child(self, trial_id: str | None = None) -> str:
        where = f"tags.`{PARENT_TAG}` = '{self.run_ids[SWEEP]}'"
        return where if trial_id is None else f"{where} and tags.`{TRIAL_TAG}` = '{trial_id}'"

    def _choose(self, experiments: list[Experiment], known: str | None) -> Experiment | None:
        """The experiment that the sweep belongs to, by what sweeps wrote and not by names that users change.

        Args:
            experiments: those that are there.
            known: the id of the one that has the sweep already.

        Returns:
            None if there is none yet.

        Raises:
            StoreError: it is deleted, or its files cannot be where MLflow has them.
        """
        own = next((e for e in experiments if e.experiment_id == known), None)
        own = own or next((e for e in experiments if e.tags.get(EXPERIMENT_TAG) == self._study), None)
        if own is None and experiments:
            where = f"tags.`{STUDY_TAG}` = '{self._study}' and tags.`{KIND_TAG}` = 'sweep'"
            ids = [e.experiment_id for e in experiments]
            last = self._client.search_runs(ids, where, max_results=1, order_by=["start_time DESC"])
            own = next(
                (e for e in experiments if last and e.experiment_id == last[0].info.experiment_id), None
            )
        own = own or next((e for e in experiments if e.name == self._name), None)
        if own is None:
            self._check_not_deleted()
        else:
            self._check_place(own)
        return own

    @property
    def _name(self) -> str:
        return EXPERIMENT_PREFIX + self._study

    def _check_not_deleted(self) -> None:
        for gone in all_experiments(self._client, deleted=True):
            if gone.name == self._name or gone.tags.get(EXPERIMENT_TAG) == self._study:
                raise StoreError(
                    f"The experiment {shown(gone.name)} of the study {self._study} is deleted in MLflow; "
                    f"bring it back by `{how_to_restore(self._uri, gone.experiment_id)}`, "
                    "or choose another folder with --store."
                )

    def _check_place(self, experiment: Experiment) -> None:
        """Refuse an experiment whose files would go to a folder that is not there, or that a server names."""
        location = experiment.artifact_location
        path = local_path(location)
        if path is None:
            return
        if self._on_server:
            raise StoreError(
                f"The server keeps the files of the experiment {shown(experiment.name)} at {shown(location)}"
                ", which would be on this machine: start it with --serve-artifacts, MLflow's default."
            )
        # Of a store that was moved this is right by now; what is left is in another store.
        if not path.parent.is_dir():
            raise StoreError(
                f"MLflow keeps the files of the experiment {shown(experiment.name)} in {shown(str(path))}, "
                "and the folder that this was in is not there: move it back, or choose another store."
            )

    def _create_experiment(self) -> str:
        about = f"Students of the study {self._study}: a run for each sweep, its trials below it."
        tags = {NOTE_TAG: about, EXPERIMENT_TAG: self._study}
        if self._on_server:
            return str(self._client.create_experiment(self._name, tags=tags))
        root = check_path(self._store.absolute()) / FOLDER
        try:
            root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=root):
                pass
        except OSError as error:
            raise StoreError(
                f"Cannot write artifacts to {root}: {error.strerror}; choose another folder with --store."
            ) from error
        if self._beside:
            tags[BESIDE_TAG] = BESIDE
        return str(self._client.create_experiment(self._name, (root / self._name).as_uri(), tags=tags))

    @property
    def _beside(self) -> bool:
        """Whether the database is in the store's own folder."""
        return self._uri.startswith("sqlite") and database_path(self._uri).parent == self._store.absolute()

    def _remember(self, key: str, run: Run) -> None:
        if not _RUN_ID.fullmatch(run.info.run_id):
            raise StoreError(f"MLflow names a run {shown(run.info.run_id, 40)!r}, which is no run's id")
        self._artifacts[key] = run.info.artifact_uri
        self.run_ids[key] = run.info.run_id

    def _folder(self, key: str) -> Path | None:
        """Where a run's files belong on this machine; None if MLflow sends them elsewhere.

        MLflow's database may come from somebody else, or from another place. So files of a database beside
        the store's folders are always in the store, and any other address must lead to a folder of that
        very run.

        Raises:
            StoreError: it does not.
        """
        uri, run_id = self._artifacts[key], self.run_ids[key]
        named = local_path(uri)
        if named is None:
            return None
        if self._on_server:
            raise StoreError(
                f"the server says that its files are at {shown(uri)}, which would be on this machine"
            )
        root = self._store.absolute()
        found = run_folder(uri, run_id, [root], moved=True) if self._beside else named
        place = None if found is None else found.resolve()
        if place is None or place.parts[-2:] != (run_id, FOLDER) or named.parts[-2:] != (run_id, FOLDER):
            raise StoreError(f"its files would lie in {shown(str(named))}, which is not that run's folder")
        if self._beside and not place.is_relative_to((root / FOLDER).resolve()):
            raise StoreError(f"its files would lie in {shown(str(named))}, which is not in the store")
        return place

    def _create(self, key: str, update: Update) -> None:
        """Make the run if it is not there yet."""
        if key in self.run_ids:
            return
        if key in self._doubtful and key != SWEEP:
            found = self._client.search_runs([self._experiment], self._child(key), max_results=1)
            if found:
                self._remember(key, found[0])
                return
        elif key in self._doubtful and self._find_runs():
            return
        if update.creation is None:
            raise StoreError("its run is not in MLflow any more")
        tags = {**update.creation.tags, **update.tags}  # tags are cheapest at creation
        if key != SWEEP:
            tags[PARENT_TAG] = self.run_ids[SWEEP]
        self._doubtful.add(key)  # until an answer comes, nobody knows
        run = self._client.create_run(
            self._experiment,
            start_time=update.creation.start,
            tags={mlflow_key(name): fitting(value, TAG_LENGTH) for name, value in tags.items()},
            run_name=shown(update.creation.name, NAME_LENGTH),
        )
        self._doubtful.discard(key)
        self._remember(key, run)
        update.tags = {}

    def _log(self, key: str, update: Update) -> None:
        from mlflow.entities import Metric, Param, RunTag

        params = [
            Param(mlflow_key(name), fitting(value, PARAM_LENGTH)) for name, value in update.params.items()
        ]
        tags = [RunTag(mlflow_key(name), fitting(value, TAG_LENGTH)) for name, value in update.tags.items()]
        metrics = [Metric(mlflow_key(name), *row) for name, row in update.metrics]
        while params or tags or metrics:
            part = metrics[:METRICS_PER_BATCH], params[:PARAMS_PER_BATCH], tags[:TAGS_PER_BATCH]
            self._client.log_batch(self.run_ids[key], *part)
            del metrics[:METRICS_PER_BATCH], params[:PARAMS_PER_BATCH], tags[:TAGS_PER_BATCH]

    def _put_file(self, key: str, name: str, update: Update) -> None:
        """Write one file among the run's artifacts."""
        folder = self._folder(key)
        content = update.texts.get(name)
        if content is None:
            content = read_inside(self._store, update.files[name])
        # MLflow would read the run again before each artifact only to learn this folder.
        if folder is not None and not self._on_server:
            _write(folder, name, content)
            return
        with tempfile.TemporaryDirectory(prefix="rayduce-") as scratch:
            _write(Path(scratch), name, content)
            self._client.log_artifacts(self.run_ids[key], scratch)

    def _end(self, key: str, update: Update) -> None:
        if update.status == "RUNNING":
            self._client.update_run(self.run_ids[key], status="RUNNING")
        elif update.status is not None:
            self._client.set_terminated(self.run_ids[key], update.status, end_time=update.end)

    def _register(self, event: Event) -> None:
        moment = datetime.fromtimestamp(event["time"] / 1000, UTC).isoformat(timespec="milliseconds")
        told = {trial: fitting(text, DESCRIPTION_LENGTH) for trial, text in event["descriptions"].items()}
        wanted = Registration(self._study, self._sweep, moment, event["aliases"], told)
        register(self._client, wanted, self.run_ids)


def _write(folder: Path, name: str, content: bytes) -> None:
    """A file whole, and on the disk before its event counts as delivered."""
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / name, content)
