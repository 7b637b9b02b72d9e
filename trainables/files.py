"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

TENSORS_FILE = "tensors.json"
"""Lies beside a packed file, and says what is in it to readers that have no torch."""


def write_file(path: Path, data: bytes, like: os.stat_result | None = None) -> None:
    """Write ``data`` to ``path``: beside it first, flushed to the disk, then renamed over it.

    A reader sees the old file or the new one, whatever happens meanwhile.

    Args:
        path: a link is replaced, not followed.
        data: the content.
        like: of another file, whose mode the new one gets, and whose owner if we are root; default: as any
            new file.

    Raises:
        OSError: the folder is missing or cannot be written; nothing is left behind.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{secrets.token_hex(6)}.partial")
    try:
        with open(beside, "xb") as file:
            if like is not None:
                os.fchmod(file.fileno(), stat.S_IMODE(like.st_mode) & 0o777)
                own = os.fstat(file.fileno())
                if os.geteuid() == 0 and (own.st_uid, own.st_gid) != (like.st_uid, like.st_gid):
                    os.fchown(file.fileno(), like.st_uid, like.st_gid)
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
