"""Runs of MLflow's store as plain values, read a second time only where they changed.

MLflow keeps no time of the last change, and asks a millisecond per run. An sqlite file is therefore read by
SQL of our own, read-only, from where the last reading ended; any other store through MLflow's client, of
which the runs that can have changed are asked for.
"""

from __future__ import annotations

import shlex
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import quote

from search.mlflow_client import (
    FRONT_TAG,
    KIND_TAG,
    NOTE_TAG,
    PARENT_TAG,
    STATE_TAG,
    SWEEP_TAG,
    StoreError,
    database_path,
    masked,
    reason,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

WHOLE_SECONDS = 600.0
"""After so long everything is read again: what a user edits by hand leaves no trace that could be
followed."""

_PAGE = 1000
_CHUNK = 500  # ids in one statement; sqlite takes 32,766
_EDITED = (STATE_TAG, FRONT_TAG, "reason", "mlflow.runName")
"""Tags that get a new value in place, which moves no row number."""


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
class _Family:
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


class SqliteRuns:
    """Runs of an sqlite file; opened read-only, and never waited for by who writes.

    New rows are those above the last row number of each table; runs that ended or got a new name are found by
    comparing, which takes 10 ms for 10,000; if row numbers went back (the file was compacted), everything is
    read again.
    """

    def __init__(self, uri: str) -> None:
        self._path = database_path(uri)
        self._lock = threading.RLock()
        self._database: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._families: dict[str, _Family] = {}
        self._version: dict[str, int] = {}

    def sweeps(self) -> list[tuple[RunRow, dict[str, str]]]:
        with self._reading() as database:
            ids = [
                row[0]
                for row in database.execute(
                    "SELECT r.run_uuid FROM tags k JOIN runs r ON r.run_uuid = k.run_uuid "
                    "JOIN experiments e ON e.experiment_id = r.experiment_id "
                    "WHERE k.key = ? AND k.value = 'sweep' AND r.lifecycle_stage = 'active' "
                    "AND e.lifecycle_stage = 'active' ORDER BY r.start_time DESC, r.run_uuid",
                    (KIND_TAG,),
                )
            ]
            rows, params = _select(database, ids), _pairs(database, "params", ids)
        return [(rows[i], params.get(i, {})) for i in ids if i in rows]

    def deleted(self) -> list[Deleted]:
        with self._reading() as database:
            found = database.execute(
                "SELECT e.experiment_id, e.name, coalesce(s.value, '') FROM experiments e "
                "JOIN runs r ON r.experiment_id = e.experiment_id "
                "JOIN tags k ON k.run_uuid = r.run_uuid AND k.key = ? AND k.value = 'sweep' "
                "LEFT JOIN tags s ON s.run_uuid = r.run_uuid AND s.key = ? "
                "WHERE e.lifecycle_stage = 'deleted' ORDER BY e.experiment_id, r.start_time",
                (KIND_TAG, SWEEP_TAG),
            )
            return _deleted((str(number), name, sweep) for number, name, sweep in found)

    def trials(self, parent: str) -> tuple[int, list[RunRow]]:
        with self._reading() as database:
            family = self._families.setdefault(parent, _Family())
            version = database.execute("PRAGMA data_version").fetchone()[0]
            if self._version.get(parent) != version:
                self._update(database, parent, family)
                self._version[parent] = version
            return family.changes, family.ordered

    def params(self, parent: str) -> dict[str, dict[str, str]]:
        with self._reading() as database:
            return _pairs(database, "params", list(_heads(database, parent)))

    def _update(self, database: sqlite3.Connection, parent: str, family: _Family) -> None:
        heads = _heads(database, parent)
        marks = tuple(
            database.execute(f"SELECT coalesce(max(rowid), 0) FROM {table}").fetchone()[0]
            for table in ("tags", "metrics")
        )
        back = not family.marks or any(new < old for new, old in zip(marks, family.marks, strict=True))
        if back or family.due():
            family.replace(_select(database, list(heads), heads))
            family.whole_at = time.monotonic()
        else:
            changed = _changed(database, family, heads)
            kept = {i: row for i, row in family.rows.items() if i in heads}
            family.replace(kept | _select(database, list(changed), heads))
        family.marks = marks

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """A connection in one transaction, so that what is read fits together."""
        with self._lock:
            try:
                database = self._open()
                database.execute("BEGIN")
                try:
                    yield database
                finally:
                    database.execute("COMMIT")
            except (sqlite3.Error, OSError) as error:
                self._close()
                raise StoreError(
                    f"Cannot read the MLflow store at {masked(f'sqlite:///{self._path}')}: {reason(error)}."
                ) from error

    def _open(self) -> sqlite3.Connection:
        status = self._path.stat()
        if self._database is None or self._file != (status.st_dev, status.st_ino):
            self._close()
            address = f"file:{quote(str(self._path))}?mode=ro"
            self._database = sqlite3.connect(
                address, uri=True, timeout=10, isolation_level=None, check_same_thread=False
            )
            self._file = (status.st_dev, status.st_ino)
        return self._database

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
        self._database, self._file = None, None
        self._version.clear()
        for family in self._families.values():
            family.marks = ()


Head = tuple[str, str, int, int | None]


LATEST_MS = 253_402_300_799_999
"""The end of the year 9999, in milliseconds since 1970."""


def _head(name: Any, status: Any, start: Any, end: Any) -> Head:
    """A run's columns of their types, whatever a hand or another program wrote: a time that is none is 0."""
    start = start if _is_time(start) else 0
    end = max(end, start) if _is_time(end) else None if end is None else start
    return (name if isinstance(name, str) else "", str(status), start, end)


def _is_time(value: Any) -> bool:
    return type(value) is int and 0 <= value <= LATEST_MS


def _heads(database: sqlite3.Connection, parent: str) -> dict[str, Head]:
    found = database.execute(
        "SELECT r.run_uuid, r.name, r.status, r.start_time, r.end_time FROM tags p "
        "JOIN runs r ON r.run_uuid = p.run_uuid "
        "WHERE p.key = ? AND p.value = ? AND r.lifecycle_stage = 'active' "
        "ORDER BY r.start_time, r.run_uuid",
        (PARENT_TAG, parent),
    )
    return {run_id: _head(*head) for run_id, *head in found}


def _changed(database: sqlite3.Connection, family: _Family, heads: Mapping[str, Head]) -> set[str]:
    """The runs of ``heads`` that are not as ``family`` knows them."""
    rows, changed = family.rows, set()
    for run_id, head in heads.items():
        row = rows.get(run_id)
        if row is None or head != (row.name, row.status, row.start_time, row.end_time):
            changed.add(run_id)
    for table, mark in zip(("tags", "metrics"), family.marks, strict=True):
        found = database.execute(f"SELECT DISTINCT run_uuid FROM {table} WHERE rowid > ?", (mark,))
        changed |= {run_id for (run_id,) in found if run_id in heads}
    for key in _EDITED:
        for run_id, value in database.execute("SELECT run_uuid, value FROM tags WHERE key = ?", (key,)):
            row = rows.get(run_id)
            if row is not None and row.tags.get(key) != value and run_id in heads:
                changed.add(run_id)
    return changed


def _select(
    database: sqlite3.Connection, ids: list[str], heads: Mapping[str, Head] | None = None
) -> dict[str, RunRow]:
    if heads is None:
        heads = {
            run_id: _head(*head)
            for chunk in _chunks(ids)
            for run_id, *head in database.execute(
                "SELECT run_uuid, name, status, start_time, end_time FROM runs "
                f"WHERE run_uuid IN ({_marks(chunk)})",
                chunk,
            )
        }
    tags, metrics = _pairs(database, "tags", ids), _pairs(database, "latest_metrics", ids)
    return {i: RunRow(i, *heads[i], tags.get(i, {}), metrics.get(i, {})) for i in ids if i in heads}


def _pairs(database: sqlite3.Connection, table: str, ids: list[str]) -> dict[str, dict[str, Any]]:
    """Run id -> key -> value of ``table``; of metrics NaN where MLflow marks it so."""
    value = "CASE WHEN is_nan THEN 'nan' ELSE value END" if table == "latest_metrics" else "value"
    skipped = f"AND key != '{NOTE_TAG}'" if table == "tags" else ""
    found: dict[str, dict[str, Any]] = {}
    known: dict[Any, Any] = {}  # the same few strings, kept once
    for chunk in _chunks(ids):
        which = f"run_uuid IN ({_marks(chunk)}) {skipped}"
        statement = f'SELECT run_uuid, "key", {value} FROM {table} WHERE {which}'
        for run_id, key, content in database.execute(statement, chunk):
            if table == "latest_metrics":
                try:
                    content = float(content)
                except (TypeError, ValueError):
                    continue  # a number that is none was not measured
            elif not isinstance(content, str) or not isinstance(key, str):
                continue
            elif len(content) < 80:
                content = known.setdefault(content, content)
            found.setdefault(run_id, {})[known.setdefault(key, key)] = content
    return found


def _chunks(ids: list[str]) -> Iterator[list[str]]:
    return (ids[i : i + _CHUNK] for i in range(0, len(ids), _CHUNK))


def _marks(ids: list[str]) -> str:
    return ",".join("?" * len(ids))


class ClientRuns:
    """Runs of a server, or of a database that is not sqlite, through MLflow's client.

    After the first reading only the runs that run, and those that ended since the latest known end, are asked
    for. What is added to ended trials, such as membership of the front, comes when the parent run ends: its
    trials are then read whole, twice, because the two are not written at the same moment.
    """

    def __init__(self, client: MlflowClient) -> None:
        self._client = client
        self._lock = threading.RLock()
        self._families: dict[str, _Family] = {}

    def sweeps(self) -> list[tuple[RunRow, dict[str, str]]]:
        found = self._search(f"tags.`{KIND_TAG}` = 'sweep'", "start_time DESC")
        return [(row_of(run), _encodable(run.data.params)) for run in found]

    def deleted(self) -> list[Deleted]:
        return ask(self._client, lambda: deleted_experiments(self._client))

    def trials(self, parent: str) -> tuple[int, list[RunRow]]:
        with self._lock:
            family = self._families.setdefault(parent, _Family())
            info = self._ask(lambda: self._client.get_run(parent)).info
            latest, ended, pending = family.marks or (0, None, 0)
            if family.marks and ended != info.end_time:
                pending = 2
            of_parent = f"tags.`{PARENT_TAG}` = '{parent}'"
            if not family.marks or pending or family.due():
                rows = {
                    run.info.run_id: row_of(run) for run in self._search(of_parent, "start_time ASC", [info])
                }
                family.whole_at, pending = time.monotonic(), max(pending - 1, 0)
            else:
                running = self._search(f"{of_parent} and status = 'RUNNING'", "start_time ASC", [info])
                since = self._search(f"{of_parent} and end_time >= {latest}", "start_time ASC", [info])
                rows = family.rows | {run.info.run_id: row_of(run) for run in (*running, *since)}
            family.replace(rows)
            family.marks = (_latest(family.ordered), info.end_time, pending)
            return family.changes, family.ordered

    def params(self, parent: str) -> dict[str, dict[str, str]]:
        found = self._search(f"tags.`{PARENT_TAG}` = '{parent}'", "start_time ASC")
        return {run.info.run_id: _encodable(run.data.params) for run in found}

    def _search(self, where: str, order: str, of: Iterable[Any] = ()) -> list[Run]:
        """All matching runs, page by page; MLflow takes an empty list of experiments for all of them."""
        experiments = [info.experiment_id for info in of] or experiments_of(self._client)
        runs: list[Run] = []
        token: str | None = None
        while experiments:
            page = self._ask(
                lambda token=token: self._client.search_runs(
                    experiments, where, max_results=_PAGE, order_by=[order], page_token=token
                )
            )
            runs += page
            token = page.token
            if not token:
                break
        return runs

    def _ask(self, question: Any) -> Any:
        return ask(self._client, question)


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
        page = client.search_experiments(kind, max_results=_PAGE, page_token=token)
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
            list(names), f"tags.`{KIND_TAG}` = 'sweep'", ViewType.ALL, _PAGE, ["start_time ASC"], token
        )
        for run in page:
            experiment = run.info.experiment_id
            rows.append((experiment, names[experiment], run.data.tags.get(SWEEP_TAG, "")))
        token = page.token
        if not token:
            break
    return _deleted(rows)


def _deleted(rows: Iterable[tuple[str, str, str]]) -> list[Deleted]:
    found: dict[tuple[str, str], list[str]] = {}
    for experiment, name, sweep in rows:
        found.setdefault((experiment, name), []).append(sweep)
    return [Deleted(*key, tuple(sweeps)) for key, sweeps in found.items()]


def how_to_restore(uri: str, experiment: str) -> str:
    """The command that brings a deleted experiment of the store at ``uri`` back."""
    address = shlex.quote(masked(uri))
    return f"MLFLOW_TRACKING_URI={address} mlflow experiments restore --experiment-id {experiment}"


def source_of(client: MlflowClient) -> RunSource:
    """How the runs of the client's store are read."""
    uri = str(client.tracking_uri)
    return SqliteRuns(uri) if uri.startswith("sqlite") else ClientRuns(client)


def _encodable(texts: Mapping[str, str]) -> dict[str, str]:
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
        *_head(info.run_name, info.status, info.start_time, info.end_time),
        _encodable({key: value for key, value in data.tags.items() if key != NOTE_TAG}),
        dict(data.metrics),
    )


def _latest(rows: list[RunRow]) -> int:
    return max((row.end_time for row in rows if row.end_time is not None), default=0)
