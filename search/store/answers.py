"""What students and their teacher say of each sample, read from the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from search.objectives.certainty import undecided
from search.store.mlflow_client import StoreError
from search.store.store import Store
from trainables.foreign import shown
from trainables.predictions import PREDICTIONS_FILE, Answers, Classes, Table, read_predictions, read_tables

TRUE = "_true"
"""Ends the name of a column of the classes that the data has, beside those of a teacher."""


def answers_of(store: Store, run_id: str) -> dict[str, Classes]:
    """The class that a student gives each sample, by split: ``validation``, and ``test`` of the front.

    Of a sweep's run those of its teacher, and beside them those that the data has, as ``validation_true`` and
    ``test_true``.

    Raises:
        UnknownRun: the store has no such run.
        StoreError: the run has no such file, as where samples have no one class each, or a damaged one.
    """
    columns = _columns(store, run_id)[0]
    if not columns:
        raise StoreError(f"The run {run_id} keeps no classes: its samples do not have one each.")
    return columns


def kept_of(store: Store, run_id: str) -> dict[str, Answers]:
    """What is kept of a student by split, or of the run of a sweep, of its teacher, with the true classes.

    Raises:
        UnknownRun, StoreError: likewise; a file without classes is none the worse.
    """
    columns, tables = _columns(store, run_id)
    splits = {name.removesuffix(TRUE) for name in (*columns, *tables)}
    return {name: Answers(columns.get(name), columns.get(name + TRUE), tables.get(name)) for name in splits}


def _columns(store: Store, run_id: str) -> tuple[dict[str, Classes], dict[str, Table]]:
    content = store.download(run_id, PREDICTIONS_FILE)
    try:
        return read_predictions(content), read_tables(content)
    except ValueError as error:
        raise StoreError(
            f"The file {PREDICTIONS_FILE} of the run {run_id} is damaged ({shown(str(error))}); "
            "the student's own file gives the same answers: rayduce evaluate."
        ) from error


Read = Callable[[str], dict[str, Classes]]
"""Takes a run id and gives its answers, as :func:`answers_of` does."""


def not_told_apart(read: Read, sweep_run: str, front: Sequence[str]) -> frozenset[str]:
    """Run ids of students that cannot be told from the next smaller one, by McNemar's test on validation.

    Args:
        read: gives the answers of a run.
        sweep_run: of the sweep, with its teacher's answers and the true classes.
        front: run ids in the order of their sizes; those without answers are left aside.
    """
    try:
        true = read(sweep_run).get(f"validation{TRUE}")
    except StoreError:  # samples have no one class each, or an older version wrote the sweep
        return frozenset()
    right: list[np.ndarray[tuple[int, ...], np.dtype[np.bool_]] | None] = []
    for run_id in front:
        try:
            said = read(run_id).get("validation")
        except StoreError:
            said = None
        if said is None or true is None or said.shape != true.shape:
            right.append(None)
        else:
            right.append(said == true)
    return frozenset(run for run, is_so in zip(front, undecided(right), strict=True) if is_so)
