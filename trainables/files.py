"""Files that are there whole or not at all, and locks that processes have of them."""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    with written_beside(Path(path), data, like) as beside:
        put_in_place(beside, Path(path))


@contextmanager
def written_beside(path: Path, data: bytes, like: os.stat_result | None = None) -> Iterator[Path]:
    """``data`` in a file beside ``path``, flushed to the disk; it is gone afterwards unless it was renamed.

    Args:
        path: whose name and folder it is.
        data: the content.
        like: see :func:`write_file`.

    Raises:
        OSError: as of :func:`write_file`.
    """
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
        yield beside
    finally:
        beside.unlink(missing_ok=True)


def put_in_place(beside: Path, path: Path) -> None:
    """Rename a file of :func:`written_beside` over ``path``, and flush the folder to the disk."""
    os.replace(beside, path)
    folder = os.open(path.parent, os.O_RDONLY)  # the rename itself is on the disk once its folder is
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_inside(folder: Path, name: str) -> bytes:
    """The content of a file below ``folder``; nothing below it is followed as a link.

    Each step is opened from the one before, so that nobody can put a link in its place meanwhile.

    Args:
        folder: where to begin; it may be reached by links.
        name: parts separated by ``/``, none of them ``.`` or ``..``.

    Raises:
        ValueError: ``name`` leads out of the folder.
        OSError: it is missing or unreadable, a link is on the way, or it is no regular file.
    """
    handle = open_inside(folder, name)
    with open(handle, "rb") as file:
        return file.read()


def open_inside(folder: Path, name: str) -> int:
    """A handle to read a file below ``folder`` by, found as :func:`read_inside` does; it is to be closed.

    Args:
        folder: where to begin; it may be reached by links.
        name: parts separated by ``/``, none of them ``.`` or ``..``.

    Raises:
        ValueError: ``name`` leads out of the folder.
        OSError: it is missing or unreadable, a link is on the way, or it is no regular file.
    """
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"a file's name must stay inside its folder, got {name!r}")
    flags = os.O_RDONLY | os.O_CLOEXEC
    handle = os.open(folder, flags | os.O_DIRECTORY)
    try:
        for count, part in enumerate(parts, start=1):
            if stat.S_ISLNK(os.stat(part, dir_fd=handle, follow_symlinks=False).st_mode):
                raise OSError(errno.ELOOP, "it is a link, and none is followed", "/".join(parts[:count]))
            kind = os.O_NONBLOCK if count == len(parts) else os.O_DIRECTORY
            inner = os.open(part, flags | os.O_NOFOLLOW | kind, dir_fd=handle)
            os.close(handle)
            handle = inner
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", name)
    except BaseException:
        os.close(handle)
        raise
    return handle


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


LOCK_SECONDS = 0.1
"""Between two tries to have a lock."""


@contextmanager
def locked(file: int, waiting: Callable[[], None]) -> Iterator[None]:
    """Be the only process that has this file's lock; the kernel lets go of it when the process dies.

    Args:
        file: descriptor of an open file, which is closed at the end.
        waiting: called once if another process has the lock.
    """
    try:
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    waiting()
                    told = True
                time.sleep(LOCK_SECONDS)
        yield
    finally:
        os.close(file)
