"""Events as JSON lines in one file that only grows: written before anything is sent anywhere.

The last field of each line, ``check``, is a hash of the line and of the check before it. So a line that was
changed, lost, moved or doubled is found, and one check says what came before it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search.log.events import Event, History, check_event, check_files
from search.store.mlflow_client import StoreError
from trainables.foreign import parse_json, shown

DURABLE = ("open", "end")
"""Kinds of events that wait for the disk: what stands before one is there after a power cut."""
LONGEST_LINE = 2**24
_SEAL = re.compile(rb',"check":"([0-9a-f]{16})"}\n')
_SEAL_BYTES = len(b',"check":"0123456789abcdef"}\n')


@dataclass(frozen=True)
class Place:
    """A place between two lines of a log.

    Attributes:
        bytes: that come before it.
        check: of the line before it; empty at the beginning.
    """

    bytes: int
    check: str


START = Place(0, "")


@dataclass(frozen=True)
class Log:
    """What is in a log.

    Attributes:
        events: its whole lines.
        end: where the next line belongs.
    """

    events: list[Event]
    end: Place


class EventLog:
    """Appends events and reads them again. One process writes at a time; threads of it may read.

    Args:
        path: of the file; made with its folder if missing. What a killed process, a full disk or a power cut
            left at its end, and is no whole line, is cut off.
        sweep: whose log it is.

    Attributes:
        end: behind the last line.

    Raises:
        OSError: it cannot be written.
        StoreError: it is damaged before its end.
    """

    def __init__(self, path: Path, sweep: str) -> None:
        self.path = path
        self._sweep = sweep
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(path, flags, 0o666)
        try:
            self.end = read_log(path, sweep).end
            if os.fstat(self._file).st_size > self.end.bytes:
                os.ftruncate(self._file, self.end.bytes)
            os.fsync(self._file)
            _sync(path.parent)  # the file itself is there after a power cut, too
        except BaseException:
            os.close(self._file)
            raise
        self._durable = self.end.bytes

    def append(self, event: Mapping[str, Any], *, durable: bool = False) -> None:
        """Write one event as a whole or not at all.

        Args:
            event: as :func:`search.log.events.check_event` takes it.
            durable: wait for the disk, so that a failing machine does not take it back.

        Raises:
            ValueError: it could not be read again.
            OSError: it could not be written; the log is as it was.
        """
        check_files(check_event(dict(event)).get("files", {}), self._sweep)
        line, check = seal(event, self.end.check)
        done = 0
        try:
            while done < len(line):  # a full disk takes a part, and refuses the next
                done += os.write(self._file, line[done:])
            if durable:
                os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, self.end.bytes)
            error.filename = str(self.path)
            raise
        self.end = Place(self.end.bytes + len(line), check)
        if durable:
            self._durable = self.end.bytes

    def read(self, start: Place = START, most: int | None = None) -> tuple[list[Event], Place]:
        """Whole lines from ``start`` on, at most ``most``; and the place of the next one.

        They are on the disk when this returns: nobody is told what a power cut could take back.

        Raises:
            StoreError: a line is damaged; the message names it.
            OSError: the disk does not take them.
        """
        end = self.end
        events: list[Event] = []
        place = start
        for event, after in _lines(self.path, start, self._sweep):
            if len(events) == most or place.bytes >= end.bytes:
                break
            events.append(event)
            place = after
        if place.bytes > self._durable:
            _sync(self.path)
            self._durable = max(self._durable, end.bytes)
        return events, place

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)


def read_log(path: Path, sweep: str) -> Log:
    """All of a log that another process may be writing.

    What stands at its end and is no whole line is left out: a line that is being written or was cut off, and
    the zeros that a power cut leaves where the disk had not come yet.

    Args:
        path: of the log.
        sweep: whose log it must be.

    Raises:
        StoreError: there is no such log, or it is damaged before its end.
    """
    events: list[Event] = []
    end, history = START, History(sweep)
    for event, after in _lines(path, START, sweep):
        try:
            history.add(event)
        except ValueError as error:
            raise _damaged(path, end.bytes, str(error)) from error
        events.append(event)
        end = after
    return Log(events, end)


def holds(path: Path, place: Place) -> bool:
    """Whether ``place`` is one of the log at ``path``: a line ends there, and it has that check."""
    if place == START:
        return True
    if place.bytes < _SEAL_BYTES:
        return False
    try:
        with _opened(path) as file:
            file.seek(place.bytes - _SEAL_BYTES)
            found = _SEAL.fullmatch(file.read(_SEAL_BYTES))
    except OSError:
        return False
    return found is not None and found[1].decode() == place.check


def seal(event: Mapping[str, Any], before: str) -> tuple[bytes, str]:
    """``event`` as the line that follows one with the check ``before``, and its own check."""
    body = json.dumps(event, allow_nan=False, separators=(",", ":")).encode()[:-1]
    check = _check(body, before)
    return body + f',"check":"{check}"}}\n'.encode(), check


def cut_partial_line(path: Path) -> int:
    """Cut off what follows the last newline of ``path``; returns how many bytes that were.

    Raises:
        OSError: the file is missing or cannot be written.
    """
    with open(path, "r+b") as file:
        size = end = file.seek(0, os.SEEK_END)
        while end > 0:
            begin = max(0, end - 65536)
            file.seek(begin)
            newline = file.read(end - begin).rfind(b"\n")
            if newline >= 0:
                end = begin + newline + 1
                break
            end = begin
        if end < size:
            file.truncate(end)
    return size - end


def _check(body: bytes, before: str) -> str:
    return hashlib.blake2b(before.encode() + body, digest_size=8).hexdigest()


def _lines(path: Path, start: Place, sweep: str) -> Iterator[tuple[Event, Place]]:
    """Each whole line from ``start`` on, with the place behind it."""
    place = start
    try:
        with _opened(path) as file:
            file.seek(start.bytes)
            while line := file.readline(LONGEST_LINE):
                try:
                    event, check = _unseal(line, place.check)
                    check_files(event.get("files", {}), sweep)
                except ValueError as error:
                    if _is_torn(line, file.read(LONGEST_LINE)):
                        return
                    raise _damaged(path, place.bytes, str(error)) from error
                place = Place(place.bytes + len(line), check)
                yield event, place
    except OSError as error:
        raise StoreError(f"The log {path} cannot be read: {error.strerror}.") from error


def _unseal(line: bytes, before: str) -> tuple[Event, str]:
    """The event of a line, and its check.

    Raises:
        ValueError: it is no such line, or does not follow the one with the check ``before``.
    """
    found = _SEAL.fullmatch(line, max(0, len(line) - _SEAL_BYTES))
    if found is None:
        raise ValueError("it is no line of such a log")
    body = line[: found.start()]
    if found[1].decode() != _check(body, before):
        raise ValueError("its checksum does not fit")
    return check_event(parse_json(body + b"}")), found[1].decode()


def _is_torn(line: bytes, rest: bytes) -> bool:
    """Whether ``line`` and what follows it may be what a crash leaves at the end of a log.

    Zeros with an event behind them that had waited for the disk are none: it had all that came before it.
    """
    if not line.endswith(b"\n"):
        return len(line) < LONGEST_LINE
    if b"\0" not in line:
        return False
    return not any(f'"kind":"{kind}"'.encode() in rest.replace(b" ", b"") for kind in DURABLE)


def _damaged(path: Path, place: int, why: str) -> StoreError:
    return StoreError(
        f"The log {shown(str(path))} is damaged at byte {place}: {why}; put back a copy of the file, or "
        "start a new sweep."
    )


def _opened(path: Path) -> Any:
    """The file at ``path``, which must be a file itself and no link to one."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(0, "it is no regular file", str(path))
    return open(handle, "rb")


def _sync(path: Path) -> None:
    """Wait until what was written to a file or folder is on the disk.

    Raises:
        OSError: it is not.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
