"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

TENSORS_FILE = "tensors.json"
"""Lies beside a packed file, and says what is in it to readers that have no torch."""


def write_file(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path``: beside it first, flushed to the disk, then renamed over it.

    A reader sees the old file or the new one, whatever happens meanwhile.

    Raises:
        OSError: the folder is missing or cannot be written; nothing is left behind.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(6)}.partial")
    try:
        with open(beside, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)  # the rename itself is on the disk once its folder is
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def free_name(path: Path, word: str) -> Path:
    """A name beside ``path`` that nothing has yet: ``a.json.damaged``, then ``a.json.damaged-2``, ..."""
    number = 1
    while True:
        beside = path.with_name(f"{path.name}.{word}" + (f"-{number}" if number > 1 else ""))
        if not os.path.lexists(beside):
            return beside
        number += 1


def set_aside(path: Path) -> Path:
    """Rename a damaged file, so that it can be looked at and is not met again; returns its new name.

    Raises:
        OSError: its folder cannot be written; it is where it was.
    """
    beside = free_name(path, "damaged")
    os.replace(path, beside)
    return beside
