"""Finds one run of ours: by its id, by the beginning of its id, or by what is registered of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from search.store.mlflow_client import KIND_TAG, StoreError, masked, reason
from search.store.runs import ask, experiments_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_RUN_ID = re.compile(r"[0-9a-f]{32}")
_REGISTERED = re.compile(r"models:/([^/:@]+)(?:@([\w-]+)|/(\d{1,9}))")


class UnknownRun(StoreError):
    """The store has no such run of ours."""


def find_run(client: MlflowClient, run_id: str, *kinds: str) -> Run:
    """The run with that id.

    Args:
        client: of the store.
        run_id: the whole id.
        kinds: what it may be: ``trial``, ``sweep``.

    Raises:
        UnknownRun: there is none, or of another kind.
        StoreError: the store cannot be read.
    """
    missing = UnknownRun(f"The store has no trial with the run id {run_id!r}; its fronts list them.")
    if not _RUN_ID.fullmatch(run_id):
        raise missing
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            raise missing from None
        raise _unreadable(client, error) from error
    if run.data.tags.get(KIND_TAG) not in kinds:
        raise missing
    return run


def complete_run_id(client: MlflowClient, prefix: str) -> str:
    """The full id of the one run of ours whose id begins with ``prefix`` (6 to 32 hex digits).

    Raises:
        UnknownRun: none does, or more than one.
    """
    if not re.fullmatch(r"[0-9a-f]{6,32}", prefix):
        raise UnknownRun(f"A run id begins with 6 to 32 hex digits, got {prefix!r}.")
    experiments, like = experiments_of(client), f"attributes.run_id LIKE '{prefix}%'"
    found = ask(client, lambda: client.search_runs(experiments, like)) if experiments else []
    found = [run for run in found if run.data.tags.get(KIND_TAG) in ("trial", "sweep")]
    if len(found) != 1:
        what = "no run" if not found else f"{len(found)} runs"
        raise UnknownRun(f"The store has {what} whose id begins with {prefix}; its fronts list ids.")
    return str(found[0].info.run_id)


def registered_run_id(client: MlflowClient, uri: str) -> str:
    """The run id behind a registered student.

    Args:
        client: of the store.
        uri: ``models:/rayduce-<study>@<alias>`` or ``models:/rayduce-<study>/<version>``.

    Raises:
        StoreError: ``uri`` is neither, or nothing is registered under it; the message says what is.
    """
    from mlflow.exceptions import MlflowException

    match = _REGISTERED.fullmatch(uri)
    if match is None:
        raise StoreError(
            f"{uri!r} names no registered student; write models:/rayduce-STUDY@ALIAS, such as "
            "models:/rayduce-digits@measured-within-1-point, or models:/rayduce-STUDY/VERSION."
        )
    name, alias, version = match.groups()
    try:
        if alias is not None:
            return str(client.get_model_version_by_alias(name, alias).run_id)
        return str(client.get_model_version(name, version).run_id)
    except MlflowException as error:
        # Of an alias that there is not, MLflow says that the parameter is invalid.
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise _unreadable(client, error) from error
    models = ask(client, lambda: client.search_registered_models(max_results=1000))
    known = [f"models:/{m.name}@{alias}" for m in models for alias in sorted(m.aliases)]
    raise UnknownRun(
        f"Nothing is registered as {uri}; there is {', '.join(known) or 'no registered student yet'}."
    )


def _unreadable(client: MlflowClient, error: Exception) -> StoreError:
    return StoreError(f"Cannot read the MLflow store at {masked(str(client.tracking_uri))}: {reason(error)}.")
