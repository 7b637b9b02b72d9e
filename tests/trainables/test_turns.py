"""Turns: one at a time among our own, and nobody else can stop us."""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from trainables.metrics import turns
from trainables.metrics.turns import alone, turn_name

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has abstract names of sockets")

SQUATTER = """
import os, socket, sys
os.setuid(65534)
taken = socket.socket(socket.AF_UNIX)
taken.bind(sys.argv[1].replace("@", chr(0)))
if sys.argv[2] != "silent":
    taken.listen(1)
if sys.argv[2] == "full":
    callers = [socket.socket(socket.AF_UNIX) for _ in range(2)]
    for caller in callers:
        caller.connect(taken.getsockname())
print("taken", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def _own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A real sweep beside the tests takes no part in them."""
    pid = os.getpid()
    monkeypatch.setattr(turns, "turn_name", lambda user: f"{turn_name(user)}-{pid}")


def hold(inside: Event, leave: Event) -> None:
    with alone():
        inside.set()
        leave.wait(60)


@pytest.fixture
def holder() -> Iterator[tuple[multiprocessing.Process, Event]]:
    """Another process of this user that has the turn, and what lets it go."""
    context = multiprocessing.get_context("fork")
    inside, leave = context.Event(), context.Event()
    name = turns.turn_name(os.getuid())
    process = context.Process(target=hold, args=(inside, leave))
    process.start()
    assert inside.wait(60) and turns.turn_name(os.getuid()) == name
    yield process, leave  # type: ignore[misc]
    process.kill()
    process.join()


@pytest.mark.parametrize("killed", [False, True])
def test_who_comes_waits_for_who_is_there_however_that_ends(holder, killed: bool) -> None:
    process, leave = holder
    entered = threading.Event()

    def enter() -> None:
        with alone():
            entered.set()

    waiting = [threading.Thread(target=enter) for _ in range(3)]
    for thread in waiting:
        thread.start()
    assert not entered.wait(turns.PATIENCE_SECONDS + 0.5)  # longer than one waits for a stranger
    process.kill() if killed else leave.set()
    for thread in waiting:
        thread.join(60)
    assert entered.is_set()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("way", ["answering", "silent", "full"])
def test_another_user_who_takes_the_name_stops_nobody(way: str) -> None:
    name = turns.turn_name(0).replace("\0", "@")
    command = [sys.executable, "-c", SQUATTER, name, way]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "taken\n"
        with alone(), pytest.raises(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.bind(turns.turn_name(0))  # it is still theirs
        other.communicate()


def test_a_turn_ends_with_its_block_and_after_an_error() -> None:
    with pytest.raises(RuntimeError), alone():
        raise RuntimeError
    with alone(), socket.socket(socket.AF_UNIX) as probe, pytest.raises(OSError):
        probe.bind(turns.turn_name(os.getuid()))
    with socket.socket(socket.AF_UNIX) as probe:
        probe.bind(turns.turn_name(os.getuid()))
