"""Runs of an sqlite file."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from search.store.mlflow_client import (
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
from search.store.runs import Deleted, Family, Head, RunRow, deleted_of, head_of

_CHUNK = 500  # ids in one statement; sqlite takes 32,766


_EDITED = (STATE_TAG, FRONT_TAG, "reason", "mlflow.runName")
"""Tags that get a new value in place, which moves no row number."""


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
        self._families: dict[str, Family] = {}
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
            return deleted_of((str(number), name, sweep) for number, name, sweep in found)

    def trials(self, parent: str) -> tuple[int, list[RunRow]]:
        with self._reading() as database:
            family = self._families.setdefault(parent, Family())
            version = database.execute("PRAGMA data_version").fetchone()[0]
            if self._version.get(parent) != version:
                self._update(database, parent, family)
                self._version[parent] = version
            return family.changes, family.ordered

    def params(self, parent: str) -> dict[str, dict[str, str]]:
        with self._reading() as database:
            return _pairs(database, "params", list(_heads(database, parent)))

    def _update(self, database: sqlite3.Connection, parent: str, family: Family) -> None:
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


def _heads(database: sqlite3.Connection, parent: str) -> dict[str, Head]:
    found = database.execute(
        "SELECT r.run_uuid, r.name, r.status, r.start_time, r.end_time FROM tags p "
        "JOIN runs r ON r.run_uuid = p.run_uuid "
        "WHERE p.key = ? AND p.value = ? AND r.lifecycle_stage = 'active' "
        "ORDER BY r.start_time, r.run_uuid",
        (PARENT_TAG, parent),
    )
    return {run_id: head_of(*head) for run_id, *head in found}


def _changed(database: sqlite3.Connection, family: Family, heads: Mapping[str, Head]) -> set[str]:
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
            run_id: head_of(*head)
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
