"""Ends a sweep from within: what was asked for by a signal, or what makes going on pointless."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Halt:
    """Remembers that the sweep is to end, until it is somewhere where it can.

    Attributes:
        reason: what is raised there; the first that was given stays.
    """

    def __init__(self) -> None:
        self.reason: BaseException | None = None

    def request(self, reason: BaseException) -> None:
        """End the sweep with ``reason`` at the next :meth:`check`."""
        self.reason = self.reason or reason

    def check(self) -> None:
        """Raise what was requested, if anything was."""
        if self.reason is not None:
            raise self.reason


class Signals:
    """SIGINT and SIGTERM during a sweep: the first ends it in order, the second at once.

    Args:
        halt: told of the first signal while :meth:`deferred`; otherwise it raises ``KeyboardInterrupt``
            where it arrives.
        farewell: written to standard error at the second. Ray's processes end with this one: nothing of
            Ray is called here, where the first signal may have interrupted it anywhere.
    """

    def __init__(self, halt: Halt, farewell: str) -> None:
        self._halt = halt
        self._farewell = farewell
        self._asked = False
        self._deferring = False
        self._failure: BaseException | None = None

    @contextmanager
    def handled(self) -> Iterator[Signals]:
        """Handle both signals; afterwards they are handled as before. Only on the main thread."""
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        self.install()
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def install(self) -> None:
        """Take the signals over, again if somebody else did."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._handle)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Let the first signal wait for :meth:`Halt.check`: an exception may tear a file being written."""
        self._deferring = True
        try:
            yield
        finally:
            self._deferring = False

    def fail(self, reason: BaseException) -> None:
        """End the sweep with ``reason``, from another thread, where a signal would have ended it."""
        self._failure = reason
        main = threading.main_thread().ident
        assert main is not None
        signal.pthread_kill(main, signal.SIGINT)  # wakes the main thread where it waits

    def _handle(self, number: int, frame: FrameType | None) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            if not self._deferring:
                raise failure
            self._halt.request(failure)
            return
        if self._asked:
            os.write(sys.stderr.fileno(), f"\n{self._farewell}\n".encode())
            os._exit(130)
        self._asked = True
        if self._deferring:
            self._halt.request(KeyboardInterrupt())
        else:
            raise KeyboardInterrupt
