"""State files that a sweep leaves, and what reads them: to be tried with damaged copies (mutants.py).

Each case makes a folder with one state file in it and says how it is used. A use raises ``Problem``,
``StoreError`` or ``CheckpointError`` with one sentence, or goes on with what is right; a number that is not
what was measured raises ``Wrong``.
"""

from __future__ import annotations

import functools
import json
import math
import os
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from optuna.trial import TrialState

from search.sampling.continuing import continue_study
from search.sampling.journal import open_study
from search.sampling.samplers import name_of
from search.sampling.searcher import Judge, OptunaSearcher
from search.store.frames import records, tensors_of
from search.store.mlflow_client import METRIC_TAG
from search.store.store import Store, StoreError, open_store
from search.teaching.kept import cached_teacher, keep_teacher, teacher_path
from search.teaching.products import cached_product, keep_product, product_path
from search.tracking.delivery import SWEEP as SWEEP_RUN
from search.tracking.record import Record
from search.tracking.tracker import SweepTracker
from spaces import Context
from spaces.architectures import fresh
from studies.images import IMAGES, sized
from trainables import methods
from trainables.files import TENSORS_FILE
from trainables.foreign import parse_json
from trainables.interfaces import Classifier
from trainables.metrics.latency import Latency, _write, damaged_tables, known_latencies, machine_id
from trainables.models import ConvNet
from trainables.origins import Fresh
from trainables.recipe import Recipe, recipe_from_dict
from trainables.shipping.contents import contents_json
from trainables.tasks import Digits
from trainables.tasks.base import LoadedTask
from trainables.teachers.sources import NoSources
from trainables.training.checkpoint import CHECKPOINT_FILE, CheckpointError
from trainables.training.trainer import Trainer
from trainables.training.trial_folder import TrialFolder


class Wrong(Exception):
    """A reader took a damaged value for a right one."""


@dataclass(frozen=True)
class Case:
    """A state file and its reader.

    Attributes:
        name: of the case.
        make: fills a folder, which is there and empty, and returns the file to be damaged.
        use: reads it as a command would.
    """

    name: str
    make: Callable[[Path], Path]
    use: Callable[[Path], None]


CONTEXT = Context(Digits(), fresh(ConvNet()), "0" * 16, epochs=3)
SPACE = sized(IMAGES, (1, 2), (0.1, 1.0))
SWEEP = "digits-1"
OPEN = (TrialState.RUNNING, TrialState.WAITING)
ENDS = ("finished", "finished", "pruned", "failed", "finished", "running", "pruned", "running")


def _objectives(result: Mapping[str, Any]) -> list[float]:
    return [result.get("validation_accuracy", math.nan), math.log2(result.get("packed_bytes", math.nan))]


JUDGE = Judge(_objectives, lambda result: {"packed_bytes": math.log2(result["packed_bytes"] / 20_000)})


def _space(trial: optuna.trial.BaseTrial) -> Recipe:
    return SPACE(trial, CONTEXT)


def _searcher(study: optuna.Study, records: Mapping[str, Record], trials: int) -> OptunaSearcher:
    return OptunaSearcher(
        study,
        _space,
        JUDGE,
        trials=trials,
        parameters=SPACE.parameters(CONTEXT),
        starting_points=SPACE.starting_points(CONTEXT),
        recipes={name: record.recipe for name, record in records.items()},
    )


def _swept(folder: Path) -> dict[str, Record]:
    """A journal of eight trials, of which two run, and what the sweep's log has of them."""
    study = open_study(folder / f"{SWEEP}.journal", SWEEP, ("maximize", "minimize"))
    searcher = _searcher(study, {}, 100)
    records: dict[str, Record] = {}
    for number, state in enumerate(ENDS):
        config = searcher.suggest(str(number))
        assert isinstance(config, dict)
        recipe = recipe_from_dict(json.loads(config["recipe"]))
        result = {"validation_accuracy": 0.9 + number / 1000, "packed_bytes": 10_000 + 977 * number}
        records[config["trial"]] = Record(config["trial"], recipe, state, metrics=dict(result))
        searcher.on_trial_complete(str(number), {**result, "state": state})
    return records


_RECORDS: dict[str, Record] = {}


def _journal_made(folder: Path) -> Path:
    _RECORDS.clear()
    _RECORDS.update(_swept(folder))
    return folder / f"{SWEEP}.journal"


def _journal_used(folder: Path) -> None:
    journal = folder / f"{SWEEP}.journal"
    continued = continue_study(journal, SWEEP, ("maximize", "minimize"), _RECORDS, (), JUDGE)
    if "\n" in continued.text or (continued.text and str(journal) not in continued.text):
        raise Wrong(f"no sentence that names the file: {continued.text!r}")
    _check_trials(continued.study)
    searcher = _searcher(continued.study, _RECORDS, len(ENDS) + 1)
    for number in [number for number, state in enumerate(ENDS) if state == "running"]:
        config = searcher.suggest(f"again-{number}")
        expected = _RECORDS[name_of(number)].recipe.recipe_id
        if (
            not isinstance(config, dict)
            or config["trial"] != name_of(number)
            or recipe_from_dict(json.loads(config["recipe"])).recipe_id != expected
        ):
            raise Wrong(f"trial {number} does not go on: {config}")
    config = searcher.suggest("new")
    known = {record.recipe.recipe_id for record in _RECORDS.values()}
    if not isinstance(config, dict) or config["trial"] != name_of(len(ENDS)):
        raise Wrong(f"the next trial is {config}")
    if recipe_from_dict(json.loads(config["recipe"])).recipe_id in known:
        raise Wrong("a recipe is drawn twice")


def _check_trials(study: optuna.Study) -> None:
    trials = study.get_trials(deepcopy=False)
    if len(trials) != len(ENDS):
        raise Wrong(f"{len(trials)} trials of {len(ENDS)}")
    for trial, record in zip(trials, _RECORDS.values(), strict=True):
        number = trial.number
        if trial.user_attrs["recipe_id"] != record.recipe.recipe_id:
            raise Wrong(f"trial {number} has another recipe")
        if trial.params and _space(optuna.trial.FixedTrial(trial.params)) != record.recipe:
            raise Wrong(f"trial {number} has parameters of another recipe")
        if not record.ended and trial.state not in OPEN:
            raise Wrong(f"trial {number} runs, and is {trial.state}")
        lost = not trial.params and trial.state == TrialState.FAIL
        if not record.ended or lost or trial.state in OPEN:
            continue  # of an end that the journal has not heard of, the searcher is told later
        ending = JUDGE.ending({**record.metrics, "state": record.state})
        values = trial.user_attrs.get("seen_values", []) if trial.state == TrialState.PRUNED else trial.values
        if trial.state != ending.state or (values or []) != ending.values:
            raise Wrong(f"trial {number} is {trial.state} with {values}")
        if dict(trial.constraints) != ending.constraints:
            raise Wrong(f"trial {number} has the constraints {trial.constraints}")


journal = Case("journal", _journal_made, _journal_used)


RECIPE = methods.post_training_quantization(
    methods.Setting(Digits(), Fresh(ConvNet(stages=((4,), (4,)), hidden=(8,), depth=1)), epochs=4)
)
CPU = torch.device("cpu")


@functools.cache
def _task() -> LoadedTask:
    return RECIPE.task.open(RECIPE.task.load(None), CPU, RECIPE.seed)


def _trainer() -> Trainer:
    return Trainer(RECIPE, _task(), NoSources(), CPU)


@functools.cache
def _trained() -> Trainer:
    trainer = _trainer()
    for _ in range(3):
        trainer.train_epoch()
    return trainer


@functools.cache
def _packed() -> bytes:
    return _trained().ship()


def _checkpoint_made(folder: Path) -> Path:
    _trained().save(folder / "00000", 12.5)
    return folder / "00000" / CHECKPOINT_FILE


def _checkpoint_used(folder: Path) -> None:
    """As :class:`trainables.trainable.StudentTrial` does: a fresh trainer where the checkpoint is none."""
    trial, trainer = TrialFolder(folder / "00000"), _trainer()
    try:
        seconds = trial.load(trainer)
    except CheckpointError:
        if len(trial.told) != 1 or "00000" not in trial.told[0] or "\n" in trial.told[0]:
            raise Wrong(f"no sentence that names the file: {trial.told}") from None
        if os.path.lexists(trial.path / CHECKPOINT_FILE):
            raise Wrong("the damaged file is met again") from None
        return
    if (seconds, trainer.epoch) != (12.5, 3) or trainer.ship() != _packed():
        raise Wrong(f"another student, of epoch {trainer.epoch}")


LATENCY = Latency(0.1, 0.125, 0.25, 100, machine_id())


def _table_made(folder: Path) -> Path:
    path = folder / f"{machine_id()}.json"
    _write(path, {"a latency_ms": LATENCY, "b latency_ms": LATENCY})
    return path


def _table_used(folder: Path) -> None:
    told = damaged_tables(folder)
    found = known_latencies("a", Classifier((1, 8, 8)), folder)
    if told and ("\n" in told[0] or machine_id() not in told[0] or found):
        raise Wrong(f"{told}: {found}")
    if not told and found != {"latency_ms": LATENCY}:
        raise Wrong(f"a table that is whole has {found}")


def _tensors_made(folder: Path) -> Path:
    path = folder / TENSORS_FILE
    path.write_bytes(contents_json(_packed()))
    return path


def _tensors_used(folder: Path) -> None:
    read = functools.partial(tensors_of, run_id="0" * 32)
    found = read((folder / TENSORS_FILE).read_bytes())
    if not found.equals(read(contents_json(_packed()))):
        raise Wrong(f"other tensors: {found}")


def _teacher_made(folder: Path) -> Path:
    keep_teacher(folder, RECIPE, _packed())
    return teacher_path(folder, RECIPE)


def _teacher_used(folder: Path) -> None:
    if cached_teacher(folder, RECIPE) != _packed():
        raise Wrong("another teacher")


ARRAYS: dict[str, np.ndarray] = {
    "outputs": np.arange(40, dtype=np.float16).reshape(2, 5, 4),
    "rows": np.arange(5),
}


def _product_made(folder: Path) -> Path:
    path = product_path(folder, RECIPE, _packed(), "0" * 16, "whole-2views")
    keep_product(path, ARRAYS)
    return path


def _product_used(folder: Path) -> None:
    found = cached_product(product_path(folder, RECIPE, _packed(), "0" * 16, "whole-2views"))
    if found is None or found.keys() != ARRAYS.keys():
        raise Wrong("other arrays")
    if not all(np.array_equal(found[name], array) for name, array in ARRAYS.items()):
        raise Wrong("other values")


TABLES = ("runs", "tags", "latest_metrics", "metrics", "params")


def _rows_made(folder: Path) -> Path:
    """The rows of a sweep of three trials in MLflow's database, as JSON."""
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    tracker = SweepTracker(uri, folder, "digits", SWEEP)
    tracker.open({"limits": {"packed_bytes": 30_000}, "max_drop": 5.0}, {METRIC_TAG: "accuracy"})
    for number, state in enumerate(("finished", "pruned", "running")):
        name = name_of(number)
        tracker.start_trial(name, "student", RECIPE.to_dict(), {"recipe_id": RECIPE.recipe_id, "bits": 4})
        tracker.log_epoch(name, 1, {"loss": 0.5, "validation_accuracy": 0.9, "packed_bytes": 9000.0})
        if state != "running":
            costs = {"validation_accuracy": 0.91, "packed_bytes": 8000.0, "latency_ms": 0.25}
            tracker.finish_trial(name, state, costs, {"reason": "dominated"}, {})
    tracker.annotate(SWEEP_RUN, {"teacher_validation_accuracy": 0.99}, {})
    tracker.close()
    database = sqlite3.connect(folder / "mlflow.db")
    database.row_factory = sqlite3.Row
    rows = {table: [dict(row) for row in database.execute(f"SELECT * FROM {table}")] for table in TABLES}
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    path = folder / "rows.json"
    path.write_text(json.dumps(rows))
    return path


def _rows_used(folder: Path) -> None:
    """What commands read of the store, on a database with the file's rows, as far as SQLite takes them."""
    try:
        rows = parse_json((folder / "rows.json").read_bytes())
        _replace_rows(folder / "mlflow.db", rows)
    except (ValueError, TypeError, AttributeError, KeyError, sqlite3.Error, OverflowError):
        return  # not what a database can hold
    store = open_store(folder, f"sqlite:///{folder / 'mlflow.db'}")
    try:
        _read_all(store)
    except StoreError as error:
        if "\n" in str(error) or len(str(error)) > 700:
            raise Wrong(f"no sentence: {error}") from error


def _read_all(store: Store) -> None:
    records(store.sweeps())
    for sweep in store.all_sweeps():
        try:
            found = records(store.trials_of(sweep)[1])
            records(store.front(sweep.name))
            store.parameters(sweep)
        except StoreError:
            continue  # of this sweep; the others can be read
        for row in found:
            store.find_run(row["run_id"])
            store.history(row["run_id"])


def _replace_rows(path: Path, rows: Mapping[str, Any]) -> None:
    database = sqlite3.connect(path)
    try:
        for table in TABLES:
            database.execute(f"DELETE FROM {table}")
        for table in TABLES:
            for row in rows[table]:
                values = [json.dumps(v) if isinstance(v, (list, dict)) else v for v in row.values()]
                names, marks = ", ".join(f'"{name}"' for name in row), ", ".join("?" * len(values))
                database.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", values)
        database.commit()
    finally:
        database.close()


checkpoint = Case("checkpoint", _checkpoint_made, _checkpoint_used)
latency_table = Case("latency_table", _table_made, _table_used)
tensors_json = Case("tensors_json", _tensors_made, _tensors_used)
teacher = Case("teacher", _teacher_made, _teacher_used)
teacher_product = Case("teacher_product", _product_made, _product_used)
database_rows = Case("database_rows", _rows_made, _rows_used)

CASES = (journal, checkpoint, latency_table, tensors_json, teacher, teacher_product, database_rows)
