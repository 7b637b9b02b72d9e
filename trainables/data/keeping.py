"""Data decoded once for all sweeps of a store: written whole or not at all, checked, and made again."""

from __future__ import annotations

import errno
import hashlib
import math
import os
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from trainables.data.kept import (
    BLOCK,
    FOLDER,
    KEY,
    MANIFEST,
    KeptArrays,
    KeptFile,
    checksum_of,
    manifest,
    npy_header,
    reason_of,
)
from trainables.data.sinks import InMemory, Sink, put
from trainables.data.telling import Tell
from trainables.files import locked, set_aside, write_file
from trainables.foreign import shown

KEPT_FROM = 8_000_000
"""Bytes of arrays that are in memory anyway, from which on they are kept in files."""
RESERVE_BYTES, RESERVE_SHARE = 1_000_000_000, 0.05
"""Of a disk, the smaller of which stays free."""
DAMAGED = "damaged"

Make = Callable[[Sink], None]
"""Writes all arrays into a sink."""
Check = Callable[[KeptArrays], str]
"""Says why kept arrays are not to be used; empty if they are."""


class CannotKeep(Exception):
    """The store has no room for the data, or cannot be written; the message says why in a few words."""


def keep(store: Path, key: str, make: Make, tell: Tell, check: Check | None = None) -> KeptArrays:
    """The arrays of ``key`` in the store's folder ``data/<key>``, made now if they are not there.

    What is there is checked first (:meth:`KeptArrays.damaged`); what is damaged is set aside, made again and
    told of. Two processes that want the same data make them once: the second waits for the first.

    Args:
        store: folder of the sweeps' files; it may be on a disk that all nodes share.
        key: 16 to 64 hex digits that name all that the arrays depend on.
        make: writes them.
        tell: hears of what takes long or is odd.
        check: says why what is there cannot be used, beside damage; empty if it can.

    Raises:
        CannotKeep: the store has no room, or cannot be written.
        whatever ``make`` raises; nothing is left behind.
    """
    if not KEY.fullmatch(key):
        raise ValueError(f"key must be 16 to 64 hex digits, got {key=}")
    found, _ = _usable(store, key, check)
    if found is not None:
        return found
    with _alone(store, key, lambda: tell("waiting for another sweep that decodes the same data")):
        found, why = _usable(store, key, check)  # what the other one has made
        if found is not None:
            return found
        if why:
            folder = store / FOLDER / key
            tell(f"the kept data in {shown(str(folder), 300)} are made again: {why}")
            with _writing():
                _remove(folder.with_name(f"{key}.{DAMAGED}"))
                set_aside(folder)
        return _make(store, key, make)


def keep_or_hold(store: Path, key: str, make: Make, tell: Tell) -> Mapping[str, np.ndarray]:
    """The same, in memory where the store has no room, which is told.

    Args:
        store: see :func:`keep`.
        key: see :func:`keep`.
        make: see :func:`keep`.
        tell: see :func:`keep`.
    """
    try:
        return keep(store, key, make, tell)
    except CannotKeep as error:
        tell(f"the decoded data are held in memory, for they cannot be kept in the store: {error}")
    sink = InMemory()
    make(sink)
    return sink.arrays


def keep_large(store: Path, arrays: Mapping[str, np.ndarray], tell: Tell) -> Mapping[str, np.ndarray]:
    """``arrays`` that were read into memory, kept by their content if they take more than 8 MB.

    Args:
        store: see :func:`keep`.
        arrays: whole.
        tell: see :func:`keep`.
    """
    if sum(array.nbytes for array in arrays.values()) < KEPT_FROM:
        return arrays

    def make(sink: Sink) -> None:
        for name, array in arrays.items():
            put(sink, name, array)

    try:
        return keep(store, checksum_of(arrays).hex()[:32], make, tell)
    except CannotKeep as error:
        tell(f"the data are held in memory, for they cannot be kept in the store: {error}")
        return arrays


def is_kept(store: Path, key: str) -> bool:
    """Whether there is something of ``key``, damaged or not."""
    return os.path.lexists(store / FOLDER / key)


class InFiles:
    """A sink whose arrays are ``.npy`` files in one folder.

    Memory does not grow with them: rows go straight to the kernel. Room is taken when an array is created.

    Args:
        folder: new and empty.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, KeptFile] = {}
        self._handles: dict[str, int] = {}
        self._number = 0
        self._lock = threading.Lock()

    def create(self, name: str, shape: tuple[int, ...], dtype: str) -> None:
        """See :class:`trainables.data.sinks.Sink`."""
        with self._lock:
            kept = KeptFile(name, f"{self._number}.npy", dtype, shape, "", ())
            self._number += 1
        size = len(kept.header) + kept.nbytes
        with _writing():
            check_room(self._folder, size)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            handle = os.open(self._folder / kept.file, flags, 0o666)
            self._files[name], self._handles[name] = kept, handle
            try:
                os.posix_fallocate(handle, 0, size)
            except OSError as error:
                if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                    raise
                os.ftruncate(handle, size)  # a file system that cannot set room aside
            _write(handle, memoryview(kept.header), 0)

    def write(self, name: str, start: int, rows: np.ndarray) -> None:
        """See :class:`trainables.data.sinks.Sink`."""
        kept = self._files[name]
        if rows.dtype.name != kept.dtype or rows.shape[1:] != kept.shape[1:]:
            raise ValueError(f"{name} takes {kept.dtype} of {kept.shape}, got {rows.dtype} of {rows.shape}")
        (count,), (most,) = rows.shape[:1] or (1,), kept.shape[:1] or (1,)  # a number is one row
        if not 0 <= start <= start + count <= most:
            raise ValueError(f"{name} has {most} rows, got {count} from {start}")
        values = np.ascontiguousarray(rows)
        with _writing():
            _write(self._handles[name], values.reshape(-1).view(np.uint8).data, _place(kept, start))

    def read(self, name: str, start: int, stop: int) -> np.ndarray:
        """See :class:`trainables.data.sinks.Sink`."""
        kept = self._files[name]
        begin, end = _place(kept, start), _place(kept, stop)
        data = os.pread(self._handles[name], end - begin, begin)
        return np.frombuffer(data, kept.dtype).reshape(stop - start, *kept.shape[1:]).copy()

    def drop(self, name: str) -> None:
        """See :class:`trainables.data.sinks.Sink`."""
        os.close(self._handles.pop(name))
        (self._folder / self._files.pop(name).file).unlink()

    def rename(self, name: str, new: str) -> None:
        """See :class:`trainables.data.sinks.Sink`."""
        kept = self._files.pop(name)
        self._files[new] = KeptFile(new, kept.file, kept.dtype, kept.shape, "", ())
        self._handles[new] = self._handles.pop(name)

    def finish(self) -> None:
        """Have everything on the disk, and the manifest last.

        Raises:
            CannotKeep: it cannot be written.
        """
        with _writing():
            files = [_hashed(kept, self._handles[name]) for name, kept in self._files.items()]
            for handle in self._handles.values():
                os.fsync(handle)
            write_file(self._folder / MANIFEST, manifest(files))

    def close(self) -> None:
        """Close all files, whole or not."""
        for handle in self._handles.values():
            os.close(handle)
        self._handles.clear()


def check_room(folder: Path, size: int) -> None:
    """Refuse to fill a disk.

    Args:
        folder: on the disk.
        size: bytes that are to be written.

    Raises:
        CannotKeep: they, and a reserve, are not free.
    """
    usage = shutil.disk_usage(folder)
    if size + min(RESERVE_BYTES, RESERVE_SHARE * usage.total) > usage.free:
        raise CannotKeep(
            f"they take {size / 1e6:,.0f} MB, and {usage.free / 1e6:,.0f} MB are free on the disk of "
            f"{shown(str(folder), 300)}"
        )


def _usable(store: Path, key: str, check: Check | None) -> tuple[KeptArrays | None, str]:
    """What is kept, and why it is not usable; (None, "") where there is nothing."""
    if not is_kept(store, key):
        return None, ""
    arrays = KeptArrays(store, key)
    try:
        arrays.open()
        changed = arrays.damaged()
    except (OSError, ValueError) as error:
        return None, reason_of(error)
    if changed:
        return None, f"the content of {shown(changed, 60)} has changed"
    why = "" if check is None else check(arrays)
    return (None, why) if why else (arrays, "")


def _make(store: Path, key: str, make: Make) -> KeptArrays:
    """Decode into a folder beside, then rename it. Whoever calls this is alone with ``key``."""
    folder = store / FOLDER / key
    with _writing():
        for left in folder.parent.glob(f".{key}.*.partial"):  # of a process that was killed
            shutil.rmtree(left)
        beside = folder.with_name(f".{key}.{secrets.token_hex(6)}.partial")
        beside.mkdir()
    sink = InFiles(beside)
    try:
        try:
            make(sink)
            sink.finish()
        finally:
            sink.close()
        with _writing():
            os.rename(beside, folder)
            _sync(folder.parent)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        raise
    arrays = KeptArrays(store, key)
    with _writing():
        arrays.open()
    return arrays


@contextmanager
def _alone(store: Path, key: str, waiting: Callable[[], None]) -> Iterator[None]:
    """Be the only process that makes the data of ``key``; the kernel lets go of the lock when it dies.

    Raises:
        CannotKeep: the folder cannot be written, or is a link.
    """
    folder = store / FOLDER
    with _writing():
        store.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            folder.mkdir()
        if folder.is_symlink() or not folder.is_dir():
            raise CannotKeep(f"{shown(str(folder), 300)} is a link or no folder, and data are not put there")
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        file = os.open(folder / f"{key}.lock", flags, 0o666)
    with locked(file, waiting):
        yield


@contextmanager
def _writing() -> Iterator[None]:
    """Tell trouble with the store from trouble with the data that are read meanwhile."""
    try:
        yield
    except OSError as error:
        raise CannotKeep(f"{reason_of(error)}{_named(error)}") from error


def _named(error: OSError) -> str:
    return f" ({shown(str(error.filename), 300)})" if error.filename else ""


def _place(kept: KeptFile, row: int) -> int:
    """Where a row begins in the file."""
    return len(npy_header(kept.dtype, kept.shape)) + row * (
        math.prod(kept.shape[1:]) * np.dtype(kept.dtype).itemsize
    )


def _write(handle: int, data: memoryview, place: int) -> None:
    while data:
        written = os.pwrite(handle, data, place)
        data, place = data[written:], place + written


def _hashed(kept: KeptFile, handle: int) -> KeptFile:
    """``kept`` with the checksums of what is in its file."""
    whole, blocks, place = hashlib.sha256(), [], len(kept.header)
    for start in range(0, kept.nbytes, BLOCK):
        data = os.pread(handle, min(BLOCK, kept.nbytes - start), place + start)
        whole.update(data)
        blocks.append(hashlib.sha256(data).hexdigest())
    return KeptFile(kept.name, kept.file, kept.dtype, kept.shape, whole.hexdigest(), tuple(blocks))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
