"""Where a sweep's own files are, and who may write them."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from search.event_log import Event, read_events
from search.problem import Problem

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
        """Every event of the sweep, as :class:`search.event_log.EventLog` has them; settings come first."""
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
            StoreError: the log cannot be read, or is damaged.
        """
        return read_events(self.log)[0] if self.log.exists() else []

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Be the sweep's only driver. The kernel lets go when the process dies, however it does.

        A folder in which no event was logged is removed again.

        Raises:
            Problem: another process is, or the folder cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            file = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
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
