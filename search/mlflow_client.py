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
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse

if TYPE_CHECKING:
    from mlflow import MlflowClient

SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql")
LOCK_SECONDS = 60.0
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
METRIC_TAG = "rayduce.metric"
TRIAL_TAG = "rayduce.trial_id"
RECIPE_TAG = "rayduce.recipe_id"
SEEDLESS_TAG = "rayduce.seedless_id"
"""The recipe's id were its seed 0: equal for trials that repeat one recipe with several seeds."""
SIGNATURE_TAG = "signature."
"""Begins the tags that say how a metric was computed, such as ``signature.bleu``."""


class StoreError(Exception):
    """The store cannot be opened, read or written; the message is one sentence that says what to do."""


def shown(uri: str) -> str:
    """``uri`` for people and logs: a password in it is masked."""
    return re.sub(r"(?<=//)[^/@]*@", "***@", uri)


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


def connect(uri: str, *, create: bool) -> MlflowClient:
    """A client of the store at ``uri`` whose schema is there and readable.

    Args:
        uri: such as ``sqlite:////home/me/rayduce-store/mlflow.db`` or ``http://127.0.0.1:5000``.
        create: make an sqlite database that is not there yet, and require that it can be written.

    Raises:
        StoreError: no such store, not one of ours, damaged, of another MLflow version, or out of reach.
    """
    scheme = urlparse(uri).scheme.split("+")[0]
    if scheme not in SCHEMES:
        raise StoreError(
            f"The tracking URI {shown(uri)!r} is not supported: give sqlite:///PATH, http://HOST:PORT "
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
        if not create:
            _check_schema(path)
        return _first_contact(uri)


def database_path(uri: str) -> Path:
    """The file that an sqlite URI names, absolute.

    Raises:
        StoreError: it names none, or the name cannot stand in a URI.
    """
    name = uri.partition(":///")[2]
    if not name or "?" in name or "#" in name:
        raise StoreError(
            f"The tracking URI {shown(uri)!r} names no file: give sqlite:///PATH without '?' and '#'."
        )
    return Path(name).absolute()


def check_artifact_name(name: str) -> None:
    """Raise ``ValueError`` unless ``name`` is a relative path that stays inside a run's folder.

    A percent sign is refused too: MLflow decodes ``%2e%2e`` to the parent folder after its own check.
    """
    if any(part in ("", ".", "..") for part in name.split("/")) or set(name) & set("\\%\0"):
        raise ValueError(f"an artifact's name must be a path inside its run's folder, got {name!r}")


def reason(error: BaseException) -> str:
    """The first line of an error's text: MLflow's and SQLAlchemy's go on with statements and links."""
    lines = [shown(line.strip()) for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300].rstrip(".")


def _first_contact(uri: str) -> MlflowClient:
    from mlflow import MlflowClient

    try:
        client = MlflowClient(uri, registry_uri=uri)
        client.search_experiments(max_results=1)
    except ModuleNotFoundError as error:
        raise StoreError(
            f"The MLflow store at {shown(uri)} needs the driver {error.name}, which is not installed: "
            "pip install 'rayduce[postgresql]' brings PostgreSQL's."
        ) from error
    except Exception as error:  # whatever the driver of that database raises
        if uri.startswith("http"):
            raise StoreError(
                f"The MLflow server at {shown(uri)} cannot be reached ({_root(error)}): "
                "start it, or give another --tracking-uri."
            ) from error
        raise StoreError(f"Cannot use the MLflow store at {shown(uri)}: {reason(error)}.") from error
    return client


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
            f"There is no store at {path}: run `rayduce sweep STUDY` first, or name its folder with --store."
        )


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
