"""Events as JSON lines in one file that only grows: written before anything is sent anywhere."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search.mlflow_client import StoreError

Event = dict[str, Any]


class EventLog:
    """Appends events and reads them again. One process writes at a time; threads of it may read.

    Args:
        path: of the file; made with its folder if missing. A line that a killed process or a full disk
            left half written is cut off.

    Attributes:
        size: bytes of the whole lines.

    Raises:
        OSError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        cut_partial_line(path)
        self.size = os.fstat(self._file).st_size

    def append(self, event: Mapping[str, Any], *, durable: bool = False) -> None:
        """Write one event as a whole or not at all.

        Args:
            event: what JSON can say, without NaN and infinity.
            durable: wait for the disk, so that a failing machine does not take it back.

        Raises:
            OSError: it could not be written; the log is as it was.
        """
        line = json.dumps(event, allow_nan=False, separators=(",", ":")).encode() + b"\n"
        done = 0
        try:
            while done < len(line):  # a full disk takes a part, and refuses the next
                done += os.write(self._file, line[done:])
            if durable:
                os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, self.size)
            error.filename = str(self.path)
            raise
        self.size += len(line)

    def read(self, start: int = 0, most: int | None = None) -> tuple[list[Event], int]:
        """Whole lines from byte ``start`` on, at most ``most``; and the byte where the next one begins.

        Raises:
            StoreError: a line is no event; the message names it.
        """
        return read_events(self.path, start, most, end=self.size)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)


def read_events(
    path: Path, start: int = 0, most: int | None = None, *, end: int | None = None
) -> tuple[list[Event], int]:
    """As :meth:`EventLog.read`, of a log that another process may be writing.

    Raises:
        StoreError: there is no such log, or a line is no event.
    """
    events: list[Event] = []
    try:
        with open(path, "rb") as file:
            file.seek(start)
            for line in file:
                if len(events) == most or not line.endswith(b"\n") or (end is not None and start >= end):
                    break
                event = json.loads(line)
                if not isinstance(event, dict) or "kind" not in event:
                    raise ValueError("no event")
                events.append(event)
                start += len(line)
    except OSError as error:
        raise StoreError(f"The log {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise StoreError(f"The log {path} is damaged at byte {start}: {error}.") from error
    return events, start


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
