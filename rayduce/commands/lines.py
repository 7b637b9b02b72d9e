"""Lines of a stream in groups: all that have come, without waiting for more."""

from __future__ import annotations

import io
import queue
import threading
from collections.abc import Iterator
from typing import IO


def groups(stream: IO[bytes], most: int) -> Iterator[list[str]]:
    """Lines of UTF-8 ``stream`` without their ends (CR, LF or CRLF), in order, at most ``most`` at a time.

    Who types sees each line answered; who pipes a file gets large groups. Bytes that are no UTF-8 become
    the replacement character; a byte order mark before the first line is left out.

    Raises:
        OSError: reading failed.
    """
    waiting: queue.Queue[str | OSError | None] = queue.Queue(maxsize=4 * most)

    def read() -> None:
        # Reads what is there, and ends no line at the other separators that sentences may hold.
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline=None)
        try:
            for line in text:
                waiting.put(line)
            waiting.put(None)
        except OSError as error:
            waiting.put(error)
        finally:
            if not stream.closed:
                text.detach()  # the stream is the caller's, and stays open

    threading.Thread(target=read, daemon=True).start()
    while True:
        items = [waiting.get()]
        while len(items) < most and items[-1] is not None and not isinstance(items[-1], OSError):
            try:
                items.append(waiting.get_nowait())
            except queue.Empty:
                break
        lines = [item.removesuffix("\n") for item in items if isinstance(item, str)]
        if lines:
            yield lines
        if isinstance(items[-1], OSError):
            raise items[-1]
        if items[-1] is None:
            return
