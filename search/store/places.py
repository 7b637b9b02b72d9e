"""Where a store's artifacts are, wherever the store is.

MLflow keeps absolute addresses, so a store that was moved or copied would go on reading and writing in its
old place. What is below a store's folder is always the same, ``artifacts/<experiment>/<run>/artifacts``; from
that and from where the store is now follows where a file is. The old place is neither read nor written.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes, urlparse

FOLDER = "artifacts"
"""Of a store's artifacts, and of those of each run."""
BESIDE_TAG = "rayduce.artifacts"
"""Of an experiment: its artifacts are in the folder of the database, and move with it."""
BESIDE = "beside the database"
_COPIES: dict[Path, tuple[tuple[int, ...], tempfile.TemporaryDirectory[str]]] = {}
_LEFT_BEHIND = ("", "-wal", "-journal")  # what a killed writer leaves is part of the database


def local_path(uri: str) -> Path | None:
    """The path that a ``file:`` URI or a bare path names on this machine; None for any other URI."""
    parsed = urlparse(uri)
    if parsed.scheme not in ("", "file"):
        return None
    return Path(os.fsdecode(unquote_to_bytes(parsed.path)))


def run_folder(uri: str, run_id: str, roots: Iterable[Path], *, moved: bool) -> Path | None:
    """The folder of a run's artifacts in one of the stores at ``roots``; None if it is in none of them.

    Args:
        uri: what MLflow says where the artifacts are.
        run_id: of the run. No other run's folder is ever returned.
        roots: folders of stores, absolute; the first counts where several would do.
        moved: whether the artifacts of an address elsewhere are looked for in ``roots``.
    """
    path = local_path(uri)
    if path is None or path.parts[-2:] != (run_id, FOLDER) or ".." in path.parts:
        return None
    roots = tuple(roots)
    if len(path.parts) < 5 or path.parts[-4] != FOLDER:
        return None
    for root in roots:
        if path.parents[3] == root:
            return path
    if not moved:
        return None
    found = [root.joinpath(*path.parts[-4:]) for root in roots]
    return next((folder for folder in found if folder.is_dir()), found[0])


@dataclass(frozen=True)
class _Elsewhere:
    """An experiment of ours whose artifacts MLflow has in another place.

    Attributes:
        experiment: its id.
        name: of its folder, as it stands in addresses.
        old: folder of the store before.
    """

    experiment: int
    name: str
    old: Path


def put_right(database: sqlite3.Connection, root: Path) -> Path | None:
    """Let MLflow's addresses of our artifacts follow a store that now is at ``root``; all of them, or none.

    Only experiments of ours are touched whose artifacts were at ``<old folder>/artifacts/<name>`` and came
    along, not those of a database that keeps its artifacts in another store.

    Args:
        database: MLflow's, in autocommit mode.
        root: folder that ``artifacts`` is in, absolute.

    Returns:
        The folder that the store was in before; None if it still is where MLflow thinks.

    Raises:
        sqlite3.Error: the database cannot be read, or written where that is needed.
    """
    if not _elsewhere(database, root):
        return None
    database.execute("BEGIN IMMEDIATE")
    try:
        found = _elsewhere(database, root)  # another process may have been faster
        for each in found:
            _rewrite(database, each, f"{(root / FOLDER).as_uri()}/{each.name}")
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")
    return found[0].old if found else None


def _elsewhere(database: sqlite3.Connection, root: Path) -> list[_Elsewhere]:
    rows = database.execute(
        "SELECT e.experiment_id, e.artifact_location, "
        "EXISTS (SELECT 1 FROM experiment_tags t WHERE t.experiment_id = e.experiment_id "
        "AND t.key = ? AND t.value = ?) FROM experiments e WHERE substr(e.artifact_location, 1, 5) = 'file:'",
        (BESIDE_TAG, BESIDE),
    ).fetchall()
    found = []
    for experiment, location, marked in rows:
        path = local_path(location)
        if path is None or len(path.parts) < 3 or path.parts[-2] != FOLDER or ".." in path.parts:
            continue
        old = path.parent.parent
        if old == root or _same_folder(old, root):
            continue
        if marked or _came_along(database, experiment, path.name, root):
            found.append(_Elsewhere(experiment, location.rpartition("/")[2], old))
    return found


def _same_folder(old: Path, root: Path) -> bool:
    """Whether both are one folder, as with a link to it."""
    with suppress(OSError):
        return old.samefile(root)
    return False


def _came_along(database: sqlite3.Connection, experiment: int, name: str, root: Path) -> bool:
    """Whether the sweeps of an experiment that says nothing of it have their files in ``root``."""
    sweeps = database.execute(
        "SELECT DISTINCT s.value FROM runs r JOIN tags k ON k.run_uuid = r.run_uuid "
        "JOIN tags s ON s.run_uuid = r.run_uuid WHERE r.experiment_id = ? "
        "AND k.key = 'rayduce.kind' AND k.value = 'sweep' AND s.key = 'sweep'",
        (experiment,),
    ).fetchall()
    if not sweeps:
        return False
    # The name of a sweep is a tag, which anybody may have written; it must not lead out of the store.
    names = [
        sweep for (sweep,) in sweeps if "/" not in sweep and "\0" not in sweep and sweep not in ("", "..")
    ]
    return (root / FOLDER / name).is_dir() or any((root / "sweeps" / sweep).is_dir() for sweep in names)


def _rewrite(database: sqlite3.Connection, each: _Elsewhere, location: str) -> None:
    own = f"/{FOLDER}/{each.name}/"
    database.execute(
        "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (location, each.experiment)
    )
    tables = {
        "runs": ("run_uuid", ["artifact_uri"]),
        "model_versions": ("run_id", ["source", "storage_location"]),
    }
    for table, (run, columns) in tables.items():
        for column in columns:
            tail = f"(? || {run} || '/{FOLDER}')"
            database.execute(
                f"UPDATE {table} SET {column} = ? || '/' || {run} || '/{FOLDER}' "
                f"WHERE {run} IN (SELECT run_uuid FROM runs WHERE experiment_id = ?) "
                f"AND substr({column}, 1, 5) = 'file:' AND substr({column}, -length({tail})) = {tail}",
                (location, each.experiment, own, own),
            )


def readable(path: Path) -> Path:
    """The database at ``path``, or a copy of it in a temporary folder where SQLite cannot read it in place.

    A database with a write-ahead log needs a file beside it even for reading. On a disk that cannot be
    written it can be read in place only while its writer lives; what a writer that is gone left in the log is
    copied too. The copy is removed when the process ends.

    Raises:
        OSError: it cannot be copied either.
        sqlite3.Error: it can be read in neither way.
    """
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=10)) as database:
            database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return path
    except sqlite3.OperationalError as error:
        if not needs_writing(error) or can_write(path):
            raise
    return copy_of(path)


def can_write(path: Path) -> bool:
    """Whether the database at ``path``, and beside it, may be written."""
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


def needs_writing(error: sqlite3.Error) -> bool:
    """Whether SQLite failed because it may not write."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN)


def copy_of(path: Path) -> Path:
    """A copy of the database at ``path`` as it is now; the same as before if it did not change.

    Raises:
        OSError: it cannot be copied, or is being written all the time.
    """
    for _ in range(5):
        before = _stamp(path)
        known = _COPIES.get(path)
        if known is None or known[0] != before:
            folder = tempfile.TemporaryDirectory(prefix="rayduce-")
            for end in _LEFT_BEHIND:
                beside = path.with_name(path.name + end)
                if end == "" or beside.exists():
                    shutil.copyfile(beside, Path(folder.name) / beside.name)
            known = (before, folder)
        if _stamp(path) == before:
            _COPIES[path] = known
            return Path(known[1].name) / path.name
    raise OSError(errno.EBUSY, "it changed each time it was read", str(path))


def _stamp(path: Path) -> tuple[int, ...]:
    """Sizes and times of the database's files; another one after every writing."""
    found: list[int] = []
    for end in _LEFT_BEHIND:
        beside = path.with_name(path.name + end)
        with suppress(FileNotFoundError):
            status = beside.stat()
            found += [len(end), status.st_size, status.st_mtime_ns, status.st_ino]
    return tuple(found)
