"""Asks a Ray cluster whether it lets us in, without Ray, whose client waits half a minute and says nothing.

One call of gRPC over HTTP/2 (RFC 9113): the client's preface, an empty SETTINGS frame, a HEADERS frame of
literals that need no table (RFC 7541, section 6.2.2) and a DATA frame with an empty message. Frames that come
back are told apart by their type: only a call that was answered has DATA.
"""

from __future__ import annotations

import socket
from typing import Literal

Answer = Literal["accepted", "refused", "unknown"]
"""``refused``: it wants another token; ``unknown``: whatever listens there is no Ray that we know."""

METHOD = b"/ray.rpc.NodeInfoGcsService/GetClusterId"
_DATA, _HEADERS, _SETTINGS = 0, 1, 4
_END_STREAM, _END_HEADERS = 1, 4
_LONGEST = 2**20
"""Bytes of an answer that are read at most; Ray's are below a hundred."""


def ask(host: str, port: int, token: str, *, seconds: float = 5.0) -> Answer:
    """What the cluster whose head listens at ``host``:``port`` says to a client with this ``token``.

    Args:
        host: name or number of the head node.
        port: of its GCS.
        token: empty for none.
        seconds: to wait for each part of the answer.

    Raises:
        OSError: nobody listens there, or nobody answers in time.
    """
    headers = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": METHOD,
        b":authority": b"ray",
        b"content-type": b"application/grpc",
        b"te": b"trailers",
    }
    if token:
        headers[b"authorization"] = b"Bearer " + token.encode()
    block = b"".join(b"\0" + _text(name) + _text(value) for name, value in headers.items())
    call = (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
        + _frame(_SETTINGS, 0, 0, b"")
        + _frame(_HEADERS, _END_HEADERS, 1, block)
        + _frame(_DATA, _END_STREAM, 1, bytes(5))  # not compressed, a message of no bytes
    )
    with socket.create_connection((host, port), timeout=seconds) as connection:
        connection.sendall(call)
        try:
            return _read(connection)
        except (EOFError, ConnectionResetError):
            return "unknown"


def _read(connection: socket.socket) -> Answer:
    read = 0
    while read < _LONGEST:
        head = _exactly(connection, 9)
        size, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
        if size > _LONGEST:  # what speaks no HTTP/2 may seem to announce anything
            return "unknown"
        body = _exactly(connection, size)
        read += 9 + size
        if kind == _DATA:
            return "accepted"
        if kind == _HEADERS and flags & _END_STREAM:
            return "refused" if b"InvalidAuthToken" in body else "unknown"
    return "unknown"


def _exactly(connection: socket.socket, size: int) -> bytes:
    parts = b""
    while len(parts) < size:
        part = connection.recv(size - len(parts))
        if not part:
            raise EOFError
        parts += part
    return parts


def _frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


def _text(value: bytes) -> bytes:
    """A string literal; up to 126 bytes its length is one byte, and longer ones take more (RFC 7541, 5.1)."""
    if len(value) < 127:
        return bytes([len(value)]) + value
    rest, length = len(value) - 127, [127]
    while rest >= 128:
        length.append(rest % 128 + 128)
        rest //= 128
    return bytes([*length, rest]) + value
