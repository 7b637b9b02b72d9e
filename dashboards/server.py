"""The HTTP server of the pages: waitress, with limits, and with room for a visitor whatever others hold open.

One thread of waitress receives all requests and sends all answers; its workers get whole requests only. So
nobody who sends or reads slowly holds a worker.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer
from waitress.task import ThreadedTaskDispatcher

WORKERS = 6
"""Requests worked on at once, as many as a browser sends. Each thread keeps memory of its own: with 16 the
process grows by 150 MB at 10,000 trials."""
MOST_CONNECTIONS = 200
"""At most; each may take three file descriptors, and processes commonly have 1,024."""
HEADER_BYTES = 32 * 1024
"""More than that answers 431. Browsers send the cookies of all of a machine's ports."""
BODY_BYTES = 4 * 1024 * 1024
"""More than that answers 413. The largest are selections: 35 bytes a trial."""
ARRIVAL_SECONDS = 30.0
"""In which a request has to arrive, from its first byte to its last."""
IDLE_SECONDS = 60.0
"""How long a connection is kept on which nothing is sent; an open page asks every 1.5 s."""


class _Connection(HTTPChannel):
    """A connection that knows how long its visitor has been sending a request."""

    began: float | None = None
    served = False

    def received(self, data: bytes) -> bool:
        taken: bool = super().received(data)
        if self.request is None:
            self.began = None
        elif self.began is None:
            self.began = time.time()
        self.served = self.served or bool(self.requests)
        # A worker would wait until the first answers are fetched. No browser asks before it has its answer.
        if len(self.requests) > 1:
            self.will_close = True
        return taken

    def overdue(self, now: float) -> bool:
        """Whether the visitor sends too slowly, does not fetch the answer, or has asked nothing for long."""
        late = self.began is not None and now - self.began > ARRIVAL_SECONDS
        computing = self.requests and not self.total_outbufs_len
        return late or (not computing and now - self.last_activity > IDLE_SECONDS)


class _Listener(TcpWSGIServer):
    """Takes every connection; where there are too many, another one has to go."""

    channel_class = _Connection

    def handle_accept(self) -> None:
        staying = [each for each in self.active_channels.values() if not each.will_close]
        if len(staying) >= MOST_CONNECTIONS:
            _make_room(staying)
        super().handle_accept()

    def tidy(self, now: float) -> None:
        """Close what is overdue or has to make room; to be called between two rounds of the loop.

        By itself waitress closes a connection when it can be written to, which is never where the visitor
        fetches nothing.
        """
        for each in list(self.active_channels.values()):
            if each.will_close or each.overdue(now):
                each.handle_close()


def _make_room(connections: list[_Connection]) -> None:
    """Give up a connection that waits: of the address with most, the one that never asked, or long ago."""
    crowd = Counter(each.addr[0] for each in connections)
    waiting = [each for each in connections if not each.requests]
    if waiting:
        most = max(waiting, key=lambda each: (crowd[each.addr[0]], not each.served, -each.last_activity))
        most.will_close = True


class Server:
    """Answers HTTP on a listening socket.

    Args:
        application: a WSGI application; called by up to ``WORKERS`` threads at once.
        listener: bound and listening; the server closes it.
    """

    def __init__(self, application: Callable[..., Any], listener: socket.socket) -> None:
        for name in ("waitress", "waitress.queue"):
            logging.getLogger(name).setLevel(logging.ERROR)  # a line per lost visitor is noise
        self.port: int = listener.getsockname()[1]
        self._map: dict[int, Any] = {}
        self._workers = ThreadedTaskDispatcher()
        self._workers.set_thread_count(WORKERS)
        settings = Adjustments(
            sockets=[listener],
            connection_limit=2 * MOST_CONNECTIONS,  # never reached: _make_room
            max_request_header_size=HEADER_BYTES,
            max_request_body_size=BODY_BYTES + 1,
            inbuf_overflow=64 * 1024,
            log_socket_errors=False,
            ident=None,
        )
        self._listener = _Listener(
            application,
            self._map,
            True,
            listener,
            dispatcher=self._workers,
            adj=settings,
            sockinfo=(listener.family, listener.type, listener.proto, listener.getsockname()),
            bind_socket=False,
        )
        self._stopped = threading.Event()

    def run(self) -> None:
        """Answer until :meth:`stop`, or until Ctrl-C."""
        with suppress(KeyboardInterrupt):
            while not self._stopped.is_set():
                wasyncore.loop(timeout=1, use_poll=True, map=self._map, count=1)
                self._listener.tidy(time.time())

    def stop(self) -> None:
        """Let :meth:`run` return; from any thread."""
        self._stopped.set()
        self._listener.pull_trigger()

    def close(self) -> None:
        """Close all connections; who still gets an answer has a second left."""
        self._workers.shutdown(timeout=1)
        wasyncore.close_all(self._map, ignore_all=True)
