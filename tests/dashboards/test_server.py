"""The server of the pages against visitors who hold connections, send slowly, or send too much."""

import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from dashboards import server as module
from dashboards.server import BODY_BYTES, HEADER_BYTES, MOST_CONNECTIONS, Server
from tests.stores import copy_blank

PATIENCE = 60.0
"""Seconds until what should have come is missed; nothing is asserted about time."""
ASK = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
LARGE = 32 * 1024 * 1024


def answer(environ: dict[str, Any], start: Any) -> list[bytes]:
    """``/large`` is more than sockets buffer; everything else is how much was sent."""
    size = len(environ["wsgi.input"].read())
    content = bytes(LARGE) if environ["PATH_INFO"] == "/large" else str(size).encode()
    start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(content)))])
    return [content]


@contextmanager
def listening() -> Iterator[int]:
    """A server's port."""
    server = Server(answer, socket.create_server(("127.0.0.1", 0)))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield server.port
    finally:
        server.stop()
        thread.join(PATIENCE)
        server.close()
        assert not thread.is_alive()


@pytest.fixture
def port() -> Iterator[int]:
    with listening() as port:
        yield port


@pytest.fixture
def strict_port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server that waits for nobody longer than half a second."""
    for name, value in (("ARRIVAL_SECONDS", 0.5), ("IDLE_SECONDS", 0.5)):
        monkeypatch.setattr(module, name, value)
    with listening() as port:
        yield port


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def status(connection: socket.socket) -> int:
    """Of the answer that comes, which is read whole; 0 if the connection is closed without one."""
    reply = HTTPResponse(connection)
    try:
        reply.begin()
        reply.read()  # or the next answer would seem to begin with what is left of this one
    except ConnectionError:
        return 0
    return reply.status


def ended(connection: socket.socket) -> bool:
    """Waits until the other side closes the connection."""
    try:
        while connection.recv(1 << 20):
            pass
    except ConnectionError:
        pass
    return True


@pytest.mark.parametrize("sent", [b"", ASK[:-2], b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n1"])
def test_those_who_hold_connections_keep_nobody_out(port: int, sent: bytes) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2_000:
        pytest.skip(f"this process may not open 1,100 connections: {hard} files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2_000) if soft >= 0 else soft, hard))
    try:
        with ExitStack() as held:
            kept = held.enter_context(connected(port))
            kept.sendall(ASK)
            assert status(kept) == 200
            for _ in range(1_100):
                held.enter_context(connected(port)).sendall(sent)
            visitor = held.enter_context(connected(port))
            visitor.sendall(ASK)
            assert status(visitor) == 200
            kept.sendall(ASK)  # who asked before is not who has to go
            assert status(kept) == 200
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_crowd_makes_room_and_not_the_others(port: int) -> None:
    with ExitStack() as held:
        other = held.enter_context(
            socket.create_connection(("127.0.0.1", port), PATIENCE, source_address=("127.0.0.2", 0))
        )
        other.sendall(ASK[:10])
        for _ in range(2 * MOST_CONNECTIONS):
            held.enter_context(connected(port))
        other.sendall(ASK[10:])
        assert status(other) == 200


def test_who_sends_nothing_or_too_slowly_is_dropped(strict_port: int) -> None:
    with connected(strict_port) as idle:
        assert ended(idle)
    with connected(strict_port) as done:
        done.sendall(ASK)
        assert status(done) == 200
        assert ended(done)
    with connected(strict_port) as dripping:
        stop = threading.Event()

        def drip() -> None:
            while not stop.wait(0.05):
                try:
                    dripping.sendall(b"x")
                except OSError:
                    return

        dripping.sendall(b"GET / HTTP/1.1\r\nX: ")
        thread = threading.Thread(target=drip)
        thread.start()
        assert ended(dripping)
        stop.set()
        thread.join(PATIENCE)


def test_who_does_not_fetch_the_answer_is_dropped(strict_port: int) -> None:
    with connected(strict_port) as lazy, connected(strict_port) as other:
        lazy.sendall(ASK.replace(b"/ ", b"/large ", 1))
        other.sendall(ASK)
        assert status(other) == 200
        assert ended(other)  # so time has passed in which the lazy one fetched nothing
        fetched = 0
        try:
            while part := lazy.recv(1 << 20):
                fetched += len(part)
        except ConnectionError:
            pass
        assert fetched < LARGE


def test_who_asks_before_the_answer_is_dropped(port: int) -> None:
    with connected(port) as hasty:
        hasty.sendall(ASK * 3)
        assert ended(hasty)


def test_heads_and_bodies_have_a_largest_size(port: int) -> None:
    def asked(*parts: bytes) -> int:
        with connected(port) as connection:
            try:
                for part in parts:
                    connection.sendall(part)
            except ConnectionError:
                return 0  # closed while it was still sending, after the answer
            return status(connection)

    head = b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    assert asked(head + b"Content-Length: %d\r\n\r\n" % BODY_BYTES, bytes(BODY_BYTES)) == 200
    assert asked(head + b"Content-Length: %d\r\n\r\n" % (BODY_BYTES + 1)) == 413
    assert asked(head + b"Content-Length: %d\r\n\r\n" % 10**30) == 413
    chunks = b"%x\r\n%s\r\n" % (BODY_BYTES + 1, bytes(BODY_BYTES + 1))
    assert asked(head + b"Transfer-Encoding: chunked\r\n\r\n", chunks) in (413, 0)
    assert asked(b"GET / HTTP/1.1\r\nX: " + b"x" * HEADER_BYTES + b"\r\n\r\n") == 431
    assert asked(b"GET /" + b"x" * HEADER_BYTES + b" HTTP/1.1\r\n\r\n") == 431
    assert asked(head + b"Content-Length: -1\r\n\r\n") == 400
    assert asked(head + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n") == 400
    assert asked(b"\x16\x03\x01\x02\x00\r\n\r\n") == 400


def test_only_the_asked_address_is_listened_on_and_ctrl_c_ends(blank: Path, tmp_path: Path) -> None:
    store = copy_blank(blank, tmp_path / "store")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "rayduce.commands.app",
        "dashboard",
        "--store",
        str(store),
        "--port",
        str(port),
    ]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        assert started.stdout is not None
        said = started.stdout.readline()
        assert f"http://127.0.0.1:{port}" in said
        with connected(port) as visitor:
            visitor.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert status(visitor) == 200
            with pytest.raises(ConnectionError):
                socket.create_connection(("127.0.0.2", port), PATIENCE).close()
            started.send_signal(signal.SIGINT)  # while a visitor is connected
            assert started.wait(PATIENCE) == 0
        assert started.stdout.read() == "", "it says nothing of requests, nor of its end"
    finally:
        started.kill()
        started.wait()
