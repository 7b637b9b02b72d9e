"""What a command keeps for as long as it runs, in a folder that nobody else can enter.

Ray lets every user of the machine write to its folders, whatever the umask, and puts them below a name that
anybody can take first: who does can stand in for its sockets. Torch takes a name of that kind too. Both are
given a folder of ours instead.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from search.problem import Problem

PREFIX = "rayduce."
"""Of our folders that have a lock, short for the sake of sockets."""
LOCK = "lock"
RAY = "r"
TORCH = "TORCHINDUCTOR_CACHE_DIR"
LONGEST_SOCKET = 107
"""Bytes of a Unix socket's path that the kernel takes, its final zero left out."""
SOCKET_BELOW = len("/session_2026-01-01_00-00-00_000000_0000000/sockets/plasma_store")
"""Bytes that Ray's longest socket adds to the folder that it is given."""
ABANDONED_SECONDS = 3600.0
"""After which a folder without a lock is of a process that was killed while it made or removed it."""
REMOVING_SECONDS = 3.0
"""For so long Ray's last processes may still write while their folder is being removed."""

_torch_cache: str | None = None


def keep_torch_private() -> None:
    """Let torch's cache of compiled code have a name that nobody can guess, unless the user chose its place.

    Torch would make ``torchinductor_<user>`` in the temporary folder as soon as it trains: if another user
    has put something else there, it fails, and if they own the folder, it runs their code. Ours is made only
    if torch needs it, and goes when this process ends.
    """
    global _torch_cache
    if TORCH in os.environ:
        return
    with suppress(FileNotFoundError):  # no temporary folder at all; what needs one says so
        _torch_cache = str(Path(tempfile.gettempdir()) / f"rayduce-torch-{secrets.token_hex(16)}")
        os.environ[TORCH] = _torch_cache
        atexit.register(shutil.rmtree, _torch_cache, ignore_errors=True)


@contextmanager
def own_folder() -> Iterator[Path]:
    """A new temporary folder of mode 0700, removed afterwards; also those that killed sweeps have left.

    Raises:
        Problem: there is no temporary folder that can be used, or its path is too long for Ray's sockets.
    """
    base = _base()
    _remove_abandoned(base)
    folder, lock = _made(base)
    try:
        _check_length(folder)
        if os.environ.get(TORCH) in (None, _torch_cache):
            os.environ[TORCH] = str(folder / "torch")
        yield folder
    finally:
        deadline = time.monotonic() + REMOVING_SECONDS
        shutil.rmtree(folder, ignore_errors=True)
        while folder.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
            shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def check_own(folder: Path) -> None:
    """Make sure that ``folder`` is a folder, this user's, and shut to all others.

    Raises:
        Problem: it is not.
    """
    found = os.lstat(folder)
    if (
        not stat.S_ISDIR(found.st_mode)
        or found.st_uid != os.getuid()
        or stat.S_IMODE(found.st_mode) & (stat.S_IRWXG | stat.S_IRWXO)
    ):
        raise Problem(
            f"{folder} is not a folder of this user alone any more: somebody else can write to "
            f"{folder.parent}; set TMPDIR to a folder of your own."
        )


def _base() -> Path:
    """The folder of temporary files: ``$RAY_TMPDIR``, or ``$TMPDIR``, or the system's."""
    for name in ("RAY_TMPDIR", "TMPDIR"):
        given = os.environ.get(name)
        if given:
            base, what = Path(given).absolute(), f"{name}={given}"
            break
    else:
        try:
            base = Path(tempfile.gettempdir())
        except FileNotFoundError as error:
            raise Problem(
                f"There is no folder for temporary files ({error}); set TMPDIR to one that can be written."
            ) from error
        what = str(base)
    if not base.is_dir() or not os.access(base, os.W_OK | os.X_OK):
        state = "cannot be written" if base.is_dir() else "is no folder"
        raise Problem(f"{what} {state}; set it to a folder for temporary files, such as /tmp.")
    found = base.stat()
    mode = found.st_mode
    open_to_others = mode & stat.S_IWOTH or (mode & stat.S_IWGRP and found.st_gid != os.getgid())
    if open_to_others and not mode & stat.S_ISVTX:
        raise Problem(
            f"In {base} every user can replace what others put there (its mode is {stat.S_IMODE(mode):04o}); "
            "set TMPDIR to a folder of your own, or have the mode set to 1777."
        )
    return base


def _check_length(folder: Path) -> None:
    length = len(os.fsencode(folder / RAY)) + SOCKET_BELOW
    if length > LONGEST_SOCKET:
        spare = length - LONGEST_SOCKET
        raise Problem(
            f"The path of the temporary folder {folder.parent} is {spare} bytes too long for Ray's sockets; "
            "set RAY_TMPDIR to a shorter one, such as /tmp."
        )


def _made(base: Path) -> tuple[Path, int]:
    """A new folder below ``base``, and its lock, which the kernel lets go of when this process dies."""
    while True:
        try:
            folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        except OSError as error:
            raise Problem(
                f"No temporary folder can be made in {base} ({error.strerror}); set TMPDIR to a folder that "
                "can be written."
            ) from error
        check_own(folder)
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if (folder / LOCK).exists():
                return folder, lock
        os.close(lock)  # who tidied up came in between


def _remove_abandoned(base: Path) -> None:
    """Remove our folders that no living process holds."""
    for folder in base.glob(f"{PREFIX}*"):
        with suppress(OSError, Problem):  # gone meanwhile, or not ours: none of our business
            check_own(folder)
            if not (folder / LOCK).exists():
                if time.time() - folder.stat().st_mtime > ABANDONED_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)
                continue
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
