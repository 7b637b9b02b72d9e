"""What students and their teacher say of each sample, read from the store."""

from __future__ import annotations

from search.store.mlflow_client import StoreError
from search.store.store import Store
from trainables.foreign import shown
from trainables.predictions import PREDICTIONS_FILE, Classes, read_predictions

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
    content = store.download(run_id, PREDICTIONS_FILE)
    try:
        return read_predictions(content)
    except ValueError as error:
        raise StoreError(
            f"The file {PREDICTIONS_FILE} of the run {run_id} is damaged ({shown(str(error))}); "
            "the student's own file gives the same answers: rayduce evaluate."
        ) from error
