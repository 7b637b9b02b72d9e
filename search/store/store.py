"""Reads sweeps, trials and artifacts from the MLflow store."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from search.store.artifacts import Artifacts
from search.store.finding import complete_run_id, find_run, registered_run_id
from search.store.frames import (
    SWEEP_COLUMNS,
    TEXT,
    frame_of,
    layers_of,
    param_column,
    records,
    sweep_of,
    tensors_of,
    trials_frame,
)
from search.store.mlflow_client import (
    METRIC_TAG,
    PARENT_TAG,
    StoreError,
    connect,
    database_address,
    database_path,
    reason,
)
from search.store.places import can_write, copy_of, put_right
from search.store.runs import ask, how_to_restore, row_of
from search.store.sources import source_of
from search.store.sweep import Sweep
from trainables.files import TENSORS_FILE
from trainables.foreign import parse_json, shown

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

RECIPE_FILE = "recipe.json"


class UnknownSweep(StoreError):
    """The store has no sweep of that name, or none at all."""


def default_tracking_uri(store_dir: Path, tracking_uri: str | None = None) -> str:
    """Where MLflow's store is: the argument, else ``MLFLOW_TRACKING_URI``, else sqlite in ``store_dir``.

    Raises:
        StoreError: an sqlite database is meant, and its path cannot be used.
    """
    if tracking_uri is None:
        tracking_uri = os.environ.get("MLFLOW_TRACKING_URI") or own_database(store_dir)
    # Whole, because what is written down is read in another folder, too.
    return (
        database_address(database_path(tracking_uri)) if tracking_uri.startswith("sqlite") else tracking_uri
    )


def own_database(store_dir: Path) -> str:
    """The address of the sqlite database in ``store_dir``.

    Raises:
        StoreError: the path of such a folder cannot be used.
    """
    return database_address(Path(store_dir).absolute() / "mlflow.db")


def open_store(
    store_dir: Path, tracking_uri: str | None = None, tell: Callable[[str], None] | None = None
) -> Store:
    """Open the store for reading; :func:`default_tracking_uri` says which.

    Args:
        store_dir: its folder.
        tracking_uri: of MLflow's store, if it is another than the folder's own.
        tell: gets one sentence if the store was moved since it was last opened.

    Raises:
        StoreError: there is none, or it cannot be read. Nothing is created.
    """
    uri = default_tracking_uri(store_dir, tracking_uri)
    return Store(connect(uri, create=False, tell=tell), uri, Path(store_dir).absolute())


def next_name(store_dir: Path, tracking_uri: str | None, study: str) -> str:
    """The first free name of ``STUDY-1``, ``STUDY-2``, ... after the highest in use.

    A store that is not there yet has no names in use; the folder's journals count, whatever MLflow store.

    Raises:
        StoreError: there is a store, and it cannot be read.
    """
    uri = default_tracking_uri(store_dir, tracking_uri)
    names = [path.stem for path in (Path(store_dir) / "studies").glob("*.journal")]
    names += [path.parent.name for path in (Path(store_dir) / "sweeps").glob("*/events.jsonl")]
    if not uri.startswith("sqlite") or database_path(uri).exists():
        names += list(open_store(store_dir, uri).sweeps()["name"])
    matches = (re.fullmatch(rf"{re.escape(study)}-(\d{{1,9}})", str(name)) for name in names)
    return f"{study}-{max((int(m[1]) for m in matches if m), default=0) + 1}"


class Store:
    """Sweeps and trials, as they are at each call; only what changed since the last is read. Made by
    :func:`open_store`, and safe to use from several threads. ``folder`` is the store's own.
    """

    def __init__(self, client: MlflowClient, tracking_uri: str, folder: Path) -> None:
        self._client = client
        self._uri = tracking_uri
        self.folder = folder
        beside = [database_path(tracking_uri).parent] if tracking_uri.startswith("sqlite") else []
        self._artifacts = Artifacts(client, tracking_uri, [*beside, folder])
        self._runs = source_of(client)
        self._frames: dict[str, tuple[Any, pd.DataFrame]] = {}

    @property
    def tracking_uri(self) -> str:
        """The address of MLflow's store."""
        return self._uri

    @contextmanager
    def served(self) -> Iterator[str]:
        """The address by which MLflow's own server can read the store while this lasts.

        Of an sqlite database that cannot be written it is a copy, with addresses that are right here.

        Raises:
            StoreError: it cannot be copied.
        """
        uri = str(self._client.tracking_uri)
        if not uri.startswith("sqlite") or can_write(database_path(uri)):
            yield uri
            return
        path = database_path(uri)
        try:
            copy = copy_of(path)
            with closing(sqlite3.connect(copy, isolation_level=None)) as database:
                put_right(database, path.parent)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(
                f"The database {path} cannot be copied to be served: {reason(error)}."
            ) from error
        yield database_address(copy)

    def sweeps(self) -> pd.DataFrame:
        """One row per sweep, newest first.

        Columns: run_id, name, study, state, metric, teacher_quality (test), teacher_validation,
        teacher_bytes, seconds, start_time.
        """
        rows = [
            {
                "run_id": sweep.run_id,
                "name": sweep.name,
                "study": sweep.study,
                "state": sweep.state,
                "metric": sweep.metric,
                "teacher_quality": sweep.teacher_quality,
                "teacher_validation": sweep.teacher_validation,
                "teacher_bytes": sweep.teacher_bytes,
                "seconds": sweep.seconds,
                "start_time": sweep.start_time,
            }
            for sweep in self.all_sweeps()
        ]
        return frame_of(rows, SWEEP_COLUMNS)

    def sweep(self, name: str | None = None) -> Sweep:
        """The sweep called ``name``, or the newest.

        Raises:
            UnknownSweep: there is none; the message names those there are.
        """
        sweeps = self.all_sweeps()
        found = next((sweep for sweep in sweeps if name is None or sweep.name == name), None)
        if found is None:
            self._raise_if_deleted(name)
            if not sweeps:
                raise UnknownSweep("The store has no sweep yet: run `rayduce sweep` first.")
            known = ", ".join(sweep.name for sweep in sweeps[:10]) + (", ..." if len(sweeps) > 10 else "")
            raise UnknownSweep(f"The store has no sweep named {name!r}; it has {known}.")
        return found

    def _raise_if_deleted(self, name: str | None) -> None:
        """Say so if the sweep called ``name``, or any where that is None, is in a deleted experiment."""
        for each in self._runs.deleted():
            if name is None or name in each.sweeps:
                sweeps = ", ".join(shown(sweep) for sweep in each.sweeps[-10:])
                raise UnknownSweep(
                    f"The experiment {shown(each.name)} with the sweeps {sweeps} is deleted in "
                    f"MLflow; bring it back by `{how_to_restore(self._uri, each.experiment)}`."
                )

    def trials(self, sweep: str | None = None) -> pd.DataFrame:
        """One row per trial of a sweep (default: the newest), in the order they were started.

        Columns, with the same dtypes whether there are rows or not: run_id, trial_id, name, state
        (``running``, ``finished``, ``failed``, ``stopped``, ``pruned``), reason, method, model, bits,
        bucket_size, depth, width, sparsity_target, validation_<metric>, <metric> (test split, members of the
        front only), packed_bytes, compression_ratio, onnx_bytes, ram_bytes, latency_ms, macs, full_macs,
        early_share, sparsity, mean_bits, parameters, seconds, front, recipe_id, seedless_id (equal for
        recipes that differ in their seed only), start_time, end_time, feasible, copied_from
        (``<sweep>/<trial>`` that made the student), continues (the trial that it takes up again),
        trained_with (the trial that trained it beside its own student: a row, and no trial, of its own).
        Qualities and costs that the sweep's metric brings along (:attr:`Sweep.quality`) stand behind it and
        behind ``seconds``, then the :data:`search.objectives.certainty.SURENESS`. ``feasible`` is whether the
        trial, as far as it got, is within the sweep's budget.
        ``front`` is what the sweep marked, once it has finished; before that, the feasible finished trials
        not dominated in validation quality and what the sweep minimises so far.

        Raises:
            UnknownSweep: no such sweep.
            UnknownMetric: its metric is another version's.
        """
        return self.trials_of(self.sweep(sweep))[1]

    def trials_of(self, sweep: Sweep) -> tuple[int, pd.DataFrame]:
        """How often the trials of ``sweep`` changed since the store was opened, and :meth:`trials`.

        Raises:
            UnknownMetric: its metric is another version's.
            StoreError: its limits are none, or the store cannot be read.
        """
        changes, rows = self._runs.trials(sweep.run_id)
        known = self._frames.get(sweep.run_id)
        # The teacher's quality and the limits decide what is feasible.
        key = (changes, sweep.teacher_validation, sweep.budget, sweep.costs)
        if known is None or known[0] != key:
            known = self._frames[sweep.run_id] = (key, trials_frame(rows, sweep))
        return changes, known[1].copy(deep=False)

    def parameters(self, sweep: Sweep) -> pd.DataFrame:
        """What the recipes of a sweep's trials were made of, where they differ.

        Returns:
            One row per trial with the index ``run_id``; one column per param that has more than one value,
            named as in MLflow, such as ``quantizer.bits``. A column of numbers is float64, any other
            string; missing where a trial's recipe has no such param.
        """
        found = self._runs.params(sweep.run_id)
        names = sorted({name for params in found.values() for name in params})
        runs = pd.Index(list(found), name="run_id", dtype=TEXT)
        columns = {}
        for name in names:
            values = [params.get(name) for params in found.values()]
            if len(set(values)) > 1:
                columns[name] = param_column(values)
        return pd.DataFrame(columns, index=runs)

    def experiment_of(self, sweep: Sweep) -> str:
        """The id of the experiment in MLflow that a sweep belongs to.

        Raises:
            UnknownRun: the store has no such sweep.
        """
        return str(self._run(sweep.run_id, "sweep").info.experiment_id)

    def front(self, sweep: str | None = None) -> pd.DataFrame:
        """The rows of :meth:`trials` that are on the front, smallest first."""
        found = self.sweep(sweep)
        _, trials = self.trials_of(found)
        return trials[trials["front"]].sort_values(found.size, ignore_index=True)

    def find_run(self, run_id: str) -> dict[str, Any]:
        """One trial as a row of :meth:`trials` in plain values, and its ``sweep``, ``study`` and ``metric``.

        Without ``front``, which needs the other trials.

        Raises:
            UnknownRun: the store has no such trial.
        """
        run = self._run(run_id, "trial")
        above = self._run(run.data.tags[PARENT_TAG], "sweep")
        parent = sweep_of(row_of(above), above.data.params)
        [row] = records(trials_frame([row_of(run)], parent).drop(columns="front"))
        return {**row, "sweep": parent.name, "study": parent.study, "metric": parent.metric}

    def tags(self, sweep: str, name: str) -> dict[str, str]:
        """Run id -> value of the tag ``name``, of the trials of a sweep that have it.

        Raises:
            UnknownSweep: no such sweep.
        """
        rows = self._runs.trials(self.sweep(sweep).run_id)[1]
        return {row.run_id: row.tags[name] for row in rows if name in row.tags}

    def history(self, run_id: str) -> pd.DataFrame:
        """Metrics of a trial by step: index ``step``, one float column per metric, NaN where not logged.

        Of several values at one step the last counts.

        Raises:
            UnknownRun: the store has no such trial.
        """
        run = self._run(run_id, "trial")
        columns: dict[str, dict[int, float]] = {}
        for key in sorted(run.data.metrics):
            history = self._ask(lambda key=key: self._client.get_metric_history(run_id, key))
            columns[key] = {m.step: m.value for m in sorted(history, key=lambda m: m.timestamp)}
        steps = sorted({step for column in columns.values() for step in column})
        return pd.DataFrame(
            {key: [column.get(step, np.nan) for step in steps] for key, column in columns.items()},
            index=pd.Index(steps, name="step", dtype="int64"),
            dtype="float64",
        )

    def download(self, run_id: str, artifact: str) -> bytes:
        """The content of one of a run's own artifacts, such as ``student.rdz``.

        Raises:
            UnknownRun: the store has no such run.
            StoreError: the run has no such artifact, or the name leaves the run's folder.
        """
        return self._artifacts.read(self._run(run_id, "trial", "sweep"), artifact)

    def tensors(self, run_id: str) -> pd.DataFrame:
        """What is in a finished trial's packed file: one row for its header, one per tensor.

        Columns: name, shape (text such as ``64x3x3``; empty for the header), codec, bits, sparsity, bytes,
        entropy_bytes, share (of the file), and levels (a list of pairs of value and count).
        :func:`trainables.shipping.packed_file.describe` says what they mean.

        Raises:
            UnknownRun: the store has no such run.
            StoreError: the trial has no file, or none that says what is in it.
        """
        return tensors_of(self.download(run_id, TENSORS_FILE), run_id)

    def layers(self, run_id: str) -> pd.DataFrame:
        """What each layer of a finished trial's student costs; no rows where that is not known.

        Columns are the fields of :class:`trainables.exporting.layers.Layer`; errors as of :meth:`tensors`.
        """
        return layers_of(self.download(run_id, TENSORS_FILE), run_id)

    def recipe(self, run_id: str) -> Any:
        """A trial's recipe as plain values, from its ``recipe.json``.

        Raises:
            UnknownRun: the store has no such run.
            StoreError: the trial has no such file, or a damaged one.
        """
        content = self.download(run_id, RECIPE_FILE)
        try:
            return parse_json(content)
        except ValueError as error:
            raise StoreError(
                f"The file {RECIPE_FILE} of the run {run_id} is damaged ({shown(str(error))}); "
                "the recipe is in the student's own file too: rayduce inspect."
            ) from error

    def complete(self, prefix: str) -> str:
        """The full id of the one run of ours whose id begins with ``prefix`` (6 to 32 hex digits).

        Raises:
            UnknownRun: none does, or more than one.
        """
        return complete_run_id(self._client, prefix)

    def registered(self, uri: str) -> str:
        """The run id behind a registered student.

        Args:
            uri: ``models:/rayduce-<study>@<alias>`` or ``models:/rayduce-<study>/<version>``.

        Raises:
            StoreError: ``uri`` is neither, or nothing is registered under it; the message says what is.
        """
        return registered_run_id(self._client, uri)

    def artifact_location(self, run_id: str, artifact: str) -> str:
        """Where one of a run's artifacts lies: a path if it is on this machine, else its URI.

        Raises:
            UnknownRun: the store has no such run.
        """
        return self._artifacts.location(self._run(run_id, "trial", "sweep"), artifact)

    def all_sweeps(self) -> list[Sweep]:
        """Every sweep, newest first."""
        return [sweep_of(row, params) for row, params in self._runs.sweeps() if METRIC_TAG in row.tags]

    def _run(self, run_id: str, *kinds: str) -> Run:
        return find_run(self._client, run_id, *kinds)

    def _ask(self, question: Any) -> Any:
        return ask(self._client, question)
