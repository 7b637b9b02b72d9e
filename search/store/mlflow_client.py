"""The one way to MLflow: an explicit address, no reporting home, no chatter, no minute-long retries.

MLflow takes one to two seconds to import, so it is imported where a connection is opened and not
where this module is.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlparse

from search.store.places import FOLDER, can_write, needs_writing, put_right, readable
from trainables import foreign

if TYPE_CHECKING:
    from mlflow import MlflowClient

SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql")
LOCK_SECONDS = 60.0
LONGEST_PATH = 504
"""Bytes of a database's path that SQLite takes."""
EXPERIMENT_PREFIX = "rayduce-"
PARENT_TAG = "mlflow.parentRunId"
NOTE_TAG = "mlflow.note.content"
"""A run's description, in Markdown, as MLflow's pages show it."""
# What people filter by has a plain name; what only programs find and read runs by begins with ``rayduce.``.
STUDY_TAG = "study"
SWEEP_TAG = "sweep"
STATE_TAG = "state"
FRONT_TAG = "front"
FEASIBLE_TAG = "feasible"
KIND_TAG = "rayduce.kind"
EXPERIMENT_TAG = "rayduce.study"
"""Of an experiment: the study whose sweeps go there, whatever name a user gave it."""
METRIC_TAG = "rayduce.metric"
TRIAL_TAG = "rayduce.trial_id"
RECIPE_TAG = "rayduce.recipe_id"
SEEDLESS_TAG = "rayduce.seedless_id"
TRAINED_WITH_TAG = "trained_with"
"""The recipe's id were its seed 0: equal for trials that repeat one recipe with several seeds."""
SIGNATURE_TAG = "signature."
"""Begins the tags that say how a metric was computed, such as ``signature.bleu``."""

_DEFAULT_ARTIFACTS = "_MLFLOW_SERVER_ARTIFACT_ROOT"
"""Where MLflow looks for the folder of artifacts that it is not told of; there is no argument for it."""
_ENVIRONMENT = threading.Lock()


class StoreError(Exception):
    """The store cannot be opened, read or written; the message is one sentence that says what to do."""


def masked(uri: str) -> str:
    """``uri`` for people and logs: a password in it is masked, and so is what a terminal would obey."""
    return foreign.shown(re.sub(r"(?<=//)[^/@]*@", "***@", uri), 1000)


def quiet_mlflow() -> None:
    """Set MLflow's switches for this process and those it starts; to be called before it is imported.

    Retries and time limits already in the environment are the user's and stay.
    """
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    # MLflow's own defaults, 7 retries of 120 s each, keep a user waiting for minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    if "MLFLOW_LOGGING_LEVEL" not in os.environ:
        os.environ["MLFLOW_LOGGING_LEVEL"] = "CRITICAL"  # every failure reaches us as an exception
        for name in ("mlflow", "alembic"):  # in case it is imported already
            logging.getLogger(name).setLevel(logging.CRITICAL)


def connect(uri: str, *, create: bool, tell: Callable[[str], None] | None = None) -> MlflowClient:
    """A client of the store at ``uri`` whose schema is there and readable.

    A store that was moved or copied has its addresses put right. One that cannot be written is read where it
    is, or as a copy of its database if SQLite cannot do that; the client's address is then the copy's.

    Args:
        uri: such as ``sqlite:////home/me/rayduce-store/mlflow.db`` or ``http://127.0.0.1:5000``.
        create: make an sqlite database that is not there yet, and require that it can be written.
        tell: gets one sentence if the store was moved.

    Raises:
        StoreError: no such store, not one of ours, damaged, of another MLflow version, or out of reach.
    """
    scheme = urlparse(uri).scheme.split("+")[0]
    if scheme not in SCHEMES:
        raise StoreError(
            f"The tracking URI {masked(uri)!r} is not supported: give sqlite:///PATH, http://HOST:PORT "
            "or the URI of another database."
        )
    quiet_mlflow()
    if scheme != "sqlite":
        return _first_contact(uri)
    path = database_path(uri)
    if create:
        _check_writable(path)
    else:
        _check_there(path)
    # MLflow's schema creation is not safe against a second process doing the same.
    with _locked(path.parent):
        found = path if create else _readable(path)
        if not create:
            _check_schema(found)
        with _default_artifacts(path.parent / FOLDER) if create else nullcontext():
            client = _first_contact(database_address(found))
        _put_right(found, path.parent, tell if found == path else None)
        return client


def settle(uri: str, tell: Callable[[str], None]) -> None:
    """Put the addresses of a moved store right, and tell it; for no other store than an sqlite database.

    :func:`connect` does the same. A command calls this first where others than itself will connect.

    Raises:
        StoreError: the database cannot be used.
    """
    if urlparse(uri).scheme.split("+")[0] == "sqlite" and (path := database_path(uri)).is_file():
        with _locked(path.parent):
            _put_right(_readable(path), path.parent, tell)


def database_path(uri: str) -> Path:
    """The file that an sqlite URI names, absolute.

    Raises:
        StoreError: it names none that SQLite and MLflow can use.
    """
    name = uri.partition(":///")[2]
    if not name or "?" in name or name == ":memory:":
        raise StoreError(
            f"The tracking URI {masked(uri)!r} names no file: give sqlite:///PATH, where %3F stands for '?' "
            "and %25 for '%'."
        )
    return check_path(Path(unquote(name)).absolute())


def check_path(path: Path) -> Path:
    """``path`` of a store or of its database, if SQLite and MLflow can use it.

    Raises:
        StoreError: they cannot.
    """
    raw = os.fsencode(path)
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        raise StoreError(
            f"The store {foreign.shown(str(path), 500)} cannot be used: MLflow takes no folder whose name is "
            f"not UTF-8, and the byte {raw[error.start]:#04x} of this one is not; "
            "rename it, or choose another with --store."
        ) from None
    if len(raw) > LONGEST_PATH:
        raise StoreError(
            f"The path {foreign.shown(str(path), 120)} has {len(raw)} bytes, and SQLite takes "
            f"{LONGEST_PATH}: choose another folder with --store."
        )
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        pass  # whoever needs it says so
    except OSError as error:
        raise StoreError(
            f"The store {foreign.shown(str(path), 500)} cannot be used: {error.strerror}; "
            "choose another folder with --store."
        ) from error
    return path


def database_address(path: Path) -> str:
    """The URI by which MLflow finds the sqlite database at ``path``.

    ``sqlite:///PATH`` as everybody writes it, unless something in the path means something else there. Of
    what follows ``sqlite:///`` MLflow makes a folder before decoding it; with the driver's name it does not.

    Raises:
        StoreError: MLflow or SQLite cannot use such a path.
    """
    text = str(check_path(path.absolute()))
    if unquote(text) == text and text.isprintable() and not set(text) & set("?#"):
        return f"sqlite:///{text}"
    return f"sqlite+pysqlite:///{quote(text)}"


def check_artifact_name(name: str) -> None:
    """Raise ``ValueError`` unless ``name`` is a relative path that stays inside a run's folder.

    A percent sign is refused too: MLflow decodes ``%2e%2e`` to the parent folder after its own check.
    """
    if any(part in ("", ".", "..") for part in name.split("/")) or set(name) & set("\\%\0"):
        raise ValueError(f"an artifact's name must be a path inside its run's folder, got {name!r}")


def reason(error: BaseException) -> str:
    """The first line of an error's text: MLflow's and SQLAlchemy's go on with statements and links."""
    lines = [masked(line.strip()) for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300].rstrip(".")


def _first_contact(uri: str) -> MlflowClient:
    from mlflow import MlflowClient

    try:
        client = MlflowClient(uri, registry_uri=uri)
        client.search_experiments(max_results=1)
    except ModuleNotFoundError as error:
        raise StoreError(
            f"The MLflow store at {masked(uri)} needs the driver {error.name}, which is not installed: "
            "pip install 'rayduce[postgresql]' brings PostgreSQL's."
        ) from error
    except Exception as error:  # whatever the driver of that database raises
        if uri.startswith("http"):
            raise StoreError(
                f"The MLflow server at {masked(uri)} cannot be reached ({_root(error)}): "
                "start it, or give another --tracking-uri."
            ) from error
        raise StoreError(f"Cannot use the MLflow store at {masked(uri)}: {reason(error)}.") from error
    return client


@contextmanager
def _default_artifacts(folder: Path) -> Iterator[None]:
    """Let a new database put the files of MLflow's experiment "Default" in ``folder``.

    Otherwise it is a folder below the current one, whose name MLflow writes into SQL as it is, with quotes.
    """
    with _ENVIRONMENT:
        before = os.environ.get(_DEFAULT_ARTIFACTS)
        os.environ[_DEFAULT_ARTIFACTS] = folder.as_uri()
        try:
            yield
        finally:
            del os.environ[_DEFAULT_ARTIFACTS]
            if before is not None:
                os.environ[_DEFAULT_ARTIFACTS] = before


def _root(error: BaseException) -> str:
    """What is at the bottom of a chain of exceptions; the layers above repeat it at length."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return (isinstance(error, OSError) and error.strerror) or reason(error)


def _check_writable(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise StoreError(
            f"Cannot write to the store's folder {path.parent}: {error.strerror}; "
            "choose another with --store."
        ) from error
    # MLflow would retry a damaged file for hours before it says so.
    with _opened(path) as database:
        database.execute("BEGIN IMMEDIATE")
        database.execute("SELECT count(*) FROM sqlite_master")
        database.rollback()
        # With a write-ahead log readers do not wait for the writer, and a trial costs half the CPU time.
        # The setting stays in the file; a database that somebody is using right now keeps what it has.
        with suppress(sqlite3.OperationalError):
            database.execute("PRAGMA journal_mode=WAL")


def _check_there(path: Path) -> None:
    if not path.is_file():
        raise StoreError(
            f"There is no store at {path}: run `rayduce sweep` first, or name its folder with --store."
        )


def _readable(path: Path) -> Path:
    try:
        return readable(path)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(
            f"The database {foreign.shown(str(path), 500)} cannot be read, nor copied to "
            f"{tempfile.gettempdir()} to be read there: {reason(error)}."
        ) from error


def _put_right(path: Path, root: Path, tell: Callable[[str], None] | None) -> None:
    with _opened(path) as database:
        try:
            old = put_right(database, root)
        except sqlite3.OperationalError as error:
            # Whoever reads finds the artifacts without it; MLflow's pages are given a copy.
            if needs_writing(error) and not can_write(path):
                return
            raise
    if old is not None and tell is not None:
        before, now = (foreign.shown(str(folder), 500) for folder in (old, root))
        tell(f"The store was in {before} and is in {now} now; its artifacts are found there.")


def _check_schema(path: Path) -> None:
    with _opened(path) as database:
        tables = database.execute(
            "SELECT count(*) FROM sqlite_master WHERE name='alembic_version'"
        ).fetchone()
    if not tables[0]:
        raise StoreError(f"The database {path} is not an MLflow store: name the right folder with --store.")


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        database = sqlite3.connect(path, timeout=10, isolation_level=None)
        try:
            yield database
        finally:
            database.close()
    except sqlite3.Error as error:
        raise StoreError(
            f"Cannot use the database {path}: {error}; "
            "choose another folder with --store, or move the file away."
        ) from error


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold an advisory lock on ``folder`` itself, so that no lock file is left behind."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise StoreError(f"Cannot open the store's folder {folder}: {error.strerror}.") from error
    try:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StoreError(
                        f"Another process has kept the store in {folder} busy; try again."
                    ) from None
                time.sleep(0.05)
            except OSError:  # a file system without locks
                break
        yield
    finally:
        os.close(handle)
