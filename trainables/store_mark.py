"""Whether this machine sees the store that the driver of a sweep sees."""

from __future__ import annotations

import os
import secrets
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from trainables.files import write_file

PATIENCE_S = 5.0
"""For so long a network file system may not show a new file."""


class StoreNotShared(Exception):
    """The store of the sweep is not here, or is another folder of the same name, or cannot be written."""


@dataclass(frozen=True)
class StoreMark:
    """A file in the store by which a node knows that the store is the driver's.

    Attributes:
        path: of the file.
        word: what it holds; new at each start, so that a copy of an older store is not mistaken for it.
    """

    path: Path
    word: str

    def check(self) -> None:
        """Read the mark, and write beside it.

        Raises:
            StoreNotShared: one of the two does not work here; the message names this machine.
        """
        here = f"{socket.gethostname()} cannot use the store {self.path.parent.parent}"
        end = time.monotonic() + PATIENCE_S
        while not self._is_there():
            if time.monotonic() > end:
                raise StoreNotShared(f"{here}: what the driver wrote to it is not there")
            time.sleep(0.2)
        beside = self.path.with_name(f"{self.path.name}.{secrets.token_hex(6)}")
        try:
            beside.touch()
            beside.unlink()
        except OSError as error:
            why = os.strerror(error.errno or 0)
            raise StoreNotShared(f"{here}: it cannot be written there ({why})") from error

    def _is_there(self) -> bool:
        try:
            return self.path.read_bytes() == self.word.encode()
        except OSError:
            return False


def leave_mark(store: Path, name: str) -> StoreMark:
    """Mark the ``store`` for the sweep ``name``.

    Raises:
        OSError: it cannot be written.
    """
    path = store.absolute() / "nodes" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    mark = StoreMark(path, secrets.token_hex(16))
    write_file(path, mark.word.encode())
    return mark
