"""Where a sweep's own files are, and who may write them."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.log.event_log import START, Event, Place, holds, read_log
from search.problem import Problem
from search.store.mlflow_client import StoreError
from trainables.files import read_inside, write_file
from trainables.foreign import parse_json, shown
from trainables.predictions import PREDICTIONS_FILE
from trainables.samples import SAMPLES_FILE

FRONT_FILE, PAGE_FILE, SETTINGS_FILE = "front.csv", "front.html", "settings.json"
"""Artifacts of the parent run; in the sweep's folder they have the same names."""


@dataclass(frozen=True)
class SweepFolder:
    """The places of one sweep's files in a store.

    Attributes:
        store: folder of the store.
        name: of the sweep.
    """

    store: Path
    name: str

    @property
    def path(self) -> Path:
        """The sweep's own folder."""
        return self.store / "sweeps" / self.name

    @property
    def log(self) -> Path:
        """Every event of the sweep, as :class:`search.log.event_log.EventLog` has them, settings first."""
        return self.path / "events.jsonl"

    @property
    def delivered(self) -> Path:
        """How much of the log MLflow has."""
        return self.path / "delivered.json"

    @property
    def page(self) -> Path:
        """The report of the finished sweep."""
        return self.path / PAGE_FILE

    @property
    def front(self) -> Path:
        """The front of the finished sweep as CSV."""
        return self.path / FRONT_FILE

    @property
    def settings(self) -> Path:
        """What the sweep was asked for."""
        return self.path / SETTINGS_FILE

    @property
    def predictions(self) -> Path:
        """What the teacher says of each sample, and what is right."""
        return self.path / PREDICTIONS_FILE

    @property
    def samples(self) -> Path:
        """What pages show of the samples; it stays in the store."""
        return self.path / SAMPLES_FILE

    @property
    def lock(self) -> Path:
        """Locked by the living driver; says who that is."""
        return self.path / "lock"

    @property
    def journal(self) -> Path:
        """Optuna's."""
        return self.store / "studies" / f"{self.name}.journal"

    @property
    def trials(self) -> Path:
        """A folder per trial, named by the trial."""
        return self.store / "trials" / self.name

    @property
    def scratch(self) -> Path:
        """What Ray Tune writes while it runs; nothing of it is ever read."""
        return self.store / "ray" / self.name

    def events(self) -> list[Event]:
        """What happened so far; empty if there is no such sweep.

        Raises:
            StoreError: the log cannot be read, or is damaged, or a link leads out of the store.
        """
        self.check_links()
        return read_log(self.log, self.name).events if self.log.exists() else []

    def check_links(self) -> None:
        """Refuse a sweep whose files would be written or read somewhere else.

        Raises:
            StoreError: one of its folders is a link, or one of its files that are written.
        """
        own = (
            self.path.parent,
            self.path,
            self.trials.parent,
            self.trials,
            self.journal.parent,
            self.journal,
        )
        for path in (*own, self.log, self.lock):
            if path.is_symlink():
                raise StoreError(
                    f"{shown(str(path))} is a link, and the files of a sweep must lie in its store: put the "
                    "files themselves there; the store's own folder may be a link."
                )

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Be the sweep's only driver. The kernel lets go when the process dies, however it does.

        A folder in which no event was logged is removed again.

        Raises:
            Problem: another process is, or the folder cannot be written.
            StoreError: a link leads out of the store.
        """
        self.check_links()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            raise Problem(
                f"Cannot write to the store's folder {self.store}: {error.strerror}; "
                "choose another with --store."
            ) from error
        try:
            if not self._lock(file):
                owner = os.pread(file, 200, 0).decode(errors="replace").strip() or "another process"
                raise Problem(
                    f"The sweep {self.name} is running already, by {owner}; "
                    "choose another name with --name, or wait until it ends."
                )
            try:
                yield
            finally:
                with suppress(OSError):
                    if not self.log.exists() or self.log.stat().st_size == 0:
                        shutil.rmtree(self.path)
                        self.path.parent.rmdir()
        finally:
            os.close(file)

    def _lock(self, file: int) -> bool:
        """Lock ``file`` if nobody has; False too if it was removed in the meantime."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if os.fstat(file).st_nlink == 0:
            return False
        with suppress(OSError):  # it only helps whoever is refused; a full disk is told elsewhere
            os.ftruncate(file, 0)
            os.pwrite(file, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        return True


class DeliveryMark:
    """How far the log of a sweep was delivered to one MLflow store; kept in the sweep's folder.

    Whatever is doubtful about it means the beginning: what is delivered twice is there once.

    Args:
        folder: of the sweep.
        tracking_uri: of MLflow's store; None for whichever it was delivered to last.
    """

    def __init__(self, folder: SweepFolder, tracking_uri: str | None) -> None:
        self._folder = folder
        self._store = None if tracking_uri is None else _address(tracking_uri)

    def read(self) -> Place:
        """Where what is to be delivered begins: the beginning also if MLflow refused something before."""
        found = _read_mark(self._folder)
        if found is None or not found["whole"] or self._store not in (None, found["store"]):
            return START
        place = Place(found["bytes"], found["check"])
        return place if holds(self._folder.log, place) else START

    def write(self, end: Place, *, whole: bool) -> None:
        """Everything before ``end`` was delivered; ``whole`` says whether MLflow took all of it.

        Raises:
            OSError: it cannot be written.
        """
        content = {"store": self._store, "bytes": end.bytes, "check": end.check, "whole": whole}
        write_file(self._folder.delivered, json.dumps(content).encode())


def _address(uri: str) -> str:
    """A hash: the address itself may hold a password."""
    return hashlib.sha256(uri.encode(errors="surrogatepass")).hexdigest()[:16]


def _read_mark(folder: SweepFolder) -> dict[str, Any] | None:
    """What :class:`DeliveryMark` wrote; None if it wrote nothing, or something else stands there."""
    try:
        found = parse_json(read_inside(folder.path, folder.delivered.name))
    except (OSError, ValueError):
        return None
    kinds = {"store": str, "bytes": int, "check": str, "whole": bool}
    if not isinstance(found, dict) or {key: type(value) for key, value in found.items()} != kinds:
        return None
    return found if 0 <= found["bytes"] < 2**62 else None
