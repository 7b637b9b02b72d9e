"""Runs of MLflow's store as plain values, read a second time only where they changed.

MLflow keeps no time of the last change, and asks a millisecond per run. An sqlite file is therefore read by
SQL of our own, read-only, from where the last reading ended; any other store through MLflow's client, of
which the runs that can have changed are asked for.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from search.store.mlflow_client import (
    KIND_TAG,
    NOTE_TAG,
    SWEEP_TAG,
    StoreError,
    masked,
    reason,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

WHOLE_SECONDS = 600.0
"""After so long everything is read again: what a user edits by hand leaves no trace that could be
followed."""

PAGE = 1000


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run.

    Attributes:
        run_id: 32 hex digits.
        name: to read; not unique.
        status: MLflow's.
        start_time: milliseconds since 1970, UTC.
        end_time: likewise, or None while it runs.
        tags: all but the description, which is as long as all others together.
        metrics: the latest value of each.
    """

    run_id: str
    name: str
    status: str
    start_time: int
    end_time: int | None
    tags: Mapping[str, str]
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Deleted:
    """An experiment with sweeps that somebody deleted in MLflow's pages.

    Attributes:
        experiment: its id.
        name: of the experiment.
        sweeps: names of the sweeps in it, oldest first.
    """

    experiment: str
    name: str
    sweeps: tuple[str, ...]


class RunSource(Protocol):
    """Where runs come from. Safe to use from several threads; every method raises ``StoreError``."""

    def sweeps(self) -> list[tuple[RunRow, dict[str, str]]]:
        """The parent runs, newest first, each with its params."""
        ...

    def deleted(self) -> list[Deleted]:
        """The deleted experiments that hold sweeps."""
        ...

    def trials(self, parent: str) -> tuple[int, list[RunRow]]:
        """The children of a parent run in the order they were started, after how many changes so far."""
        ...

    def params(self, parent: str) -> dict[str, dict[str, str]]:
        """Run id -> params of the children of a parent run."""
        ...


@dataclass
class Family:
    """What is known of the children of one parent.

    Attributes:
        rows: run id -> run.
        changes: how often ``rows`` became another.
        marks: how far the reading has come; what that means is the source's business.
        whole_at: when everything was read last; monotonic seconds.
        ordered: the rows by start.
    """

    rows: dict[str, RunRow] = field(default_factory=dict)
    changes: int = 0
    marks: tuple[Any, ...] = ()
    whole_at: float = -WHOLE_SECONDS
    ordered: list[RunRow] = field(default_factory=list)

    def due(self) -> bool:
        return time.monotonic() - self.whole_at >= WHOLE_SECONDS

    def replace(self, rows: dict[str, RunRow]) -> None:
        if rows != self.rows or not self.changes:
            self.rows = rows
            self.ordered = sorted(rows.values(), key=lambda row: (row.start_time, row.run_id))
            self.changes += 1


Head = tuple[str, str, int, int | None]


LATEST_MS = 253_402_300_799_999
"""The end of the year 9999, in milliseconds since 1970."""


def head_of(name: Any, status: Any, start: Any, end: Any) -> Head:
    """A run's columns of their types, whatever a hand or another program wrote: a time that is none is 0."""
    start = start if _is_time(start) else 0
    end = max(end, start) if _is_time(end) else None if end is None else start
    return (name if isinstance(name, str) else "", str(status), start, end)


def _is_time(value: Any) -> bool:
    return type(value) is int and 0 <= value <= LATEST_MS


def ask(client: MlflowClient, question: Any) -> Any:
    """What ``question`` returns; any failure becomes a ``StoreError`` that names the store."""
    try:
        return question()
    except Exception as error:  # the database's driver, the network or MLflow itself
        raise StoreError(
            f"Cannot read the MLflow store at {masked(str(client.tracking_uri))}: {reason(error)}."
        ) from error


def experiments_of(client: MlflowClient) -> list[str]:
    """The ids of all experiments; users may have renamed those that sweeps are in."""
    return [e.experiment_id for e in ask(client, lambda: all_experiments(client))]


def all_experiments(client: MlflowClient, *, deleted: bool = False) -> list[Experiment]:
    """The experiments that are there, or those that are deleted, page by page."""
    from mlflow.entities import ViewType

    kind = ViewType.DELETED_ONLY if deleted else ViewType.ACTIVE_ONLY
    found: list[Experiment] = []
    token: str | None = None
    while True:
        page = client.search_experiments(kind, max_results=PAGE, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def deleted_experiments(client: MlflowClient) -> list[Deleted]:
    """As :meth:`RunSource.deleted`, and with MLflow's own exceptions."""
    from mlflow.entities import ViewType

    names = {e.experiment_id: e.name for e in all_experiments(client, deleted=True)}
    rows: list[tuple[str, str, str]] = []
    token: str | None = None
    while names:
        page = client.search_runs(
            list(names), f"tags.`{KIND_TAG}` = 'sweep'", ViewType.ALL, PAGE, ["start_time ASC"], token
        )
        for run in page:
            experiment = run.info.experiment_id
            rows.append((experiment, names[experiment], run.data.tags.get(SWEEP_TAG, "")))
        token = page.token
        if not token:
            break
    return deleted_of(rows)


def deleted_of(rows: Iterable[tuple[str, str, str]]) -> list[Deleted]:
    found: dict[tuple[str, str], list[str]] = {}
    for experiment, name, sweep in rows:
        found.setdefault((experiment, name), []).append(sweep)
    return [Deleted(*key, tuple(sweeps)) for key, sweeps in found.items()]


def how_to_restore(uri: str, experiment: str) -> str:
    """The command that brings a deleted experiment of the store at ``uri`` back."""
    address = shlex.quote(masked(uri))
    return f"MLFLOW_TRACKING_URI={address} mlflow experiments restore --experiment-id {experiment}"


def encodable(texts: Mapping[str, str]) -> dict[str, str]:
    """Half of a surrogate pair, which JSON lets through and nothing can encode, becomes its escape."""
    return {
        key.encode("utf-8", "backslashreplace").decode(): str(value)
        .encode("utf-8", "backslashreplace")
        .decode()
        for key, value in texts.items()
    }


def row_of(run: Run) -> RunRow:
    """One run that MLflow's client returned."""
    info, data = run.info, run.data
    return RunRow(
        info.run_id,
        *head_of(info.run_name, info.status, info.start_time, info.end_time),
        encodable({key: value for key, value in data.tags.items() if key != NOTE_TAG}),
        dict(data.metrics),
    )
