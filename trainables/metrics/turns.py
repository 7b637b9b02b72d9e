"""Processes of one user that must not work at the same time on one machine take turns."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE_SECONDS = 2.0
"""For so long a name may be taken without anybody who answers; then it is nobody's of ours."""

_CREDENTIALS = struct.Struct("3i")  # process, user, group


def turn_name(user: int) -> str:
    """The name that whoever of this user has the turn holds; the zero makes it one of no file."""
    return f"\0rayduce-latency-{user}"


def device_turn(user: int, device: str) -> str:
    """As :func:`turn_name`, of whoever of this user asks the device of that name."""
    return f"\0rayduce-device-{user}-{device}"


@contextmanager
def alone(name: str | None = None) -> Iterator[None]:
    """Be the only process of this user on this machine that measures; whoever comes meanwhile waits.

    Args:
        name: of the turn; None (default) is :func:`turn_name`, for what is timed on this machine.

    The turn is a socket with a name of Linux's abstract kind, which is in no folder: there is nothing to be
    put there by others, nothing to clean up, and the kernel gives the name back when its process dies. Who
    finds it taken asks the kernel whose it is. Another user can take it too, as anybody can take any name,
    but only to be ignored: we then measure without a turn, and two processes of ours may disturb each other.
    Where there are no such names (macOS), nobody waits either.
    """
    if sys.platform != "linux":
        yield
        return
    name = turn_name(os.getuid()) if name is None else name
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as ours:
        give_up: float | None = None
        while not _taken(ours, name):
            holder = _wait_for_holder(name)
            if holder == "another":
                break
            if holder == "ours":
                give_up = None
                continue
            give_up = give_up or time.monotonic() + PATIENCE_SECONDS
            if time.monotonic() > give_up:
                break
            time.sleep(0.02)
        yield


def _taken(ours: socket.socket, name: str) -> bool:
    """Take the turn, unless it is another's."""
    try:
        ours.bind(name)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return False
    ours.listen(socket.SOMAXCONN)
    return True


def _wait_for_holder(name: str) -> str:
    """Wait until a process of this user has had its turn.

    Returns:
        ``ours`` when it had, ``another`` if the turn is another user's, ``nobody`` if none answers.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.setblocking(False)  # a queue that others have filled would let us wait
        try:
            line.connect(name)
        except ConnectionRefusedError:  # gone by now, or not listening yet
            return "nobody"
        except BlockingIOError:
            return "another"
        size = _CREDENTIALS.size
        _, user, _ = _CREDENTIALS.unpack(line.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
        if user != os.getuid():
            return "another"
        line.setblocking(True)
        with contextlib.suppress(ConnectionResetError):  # how a queue ends in which nobody was served
            line.recv(1)
        return "ours"
