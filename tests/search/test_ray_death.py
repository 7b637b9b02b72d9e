"""A local Ray: where it listens, where it lives, and what is said when one of its processes dies."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from search.clusters.ray_probe import ask
from search.store.store import open_store, own_database

ROOT = Path(__file__).resolve().parents[2]


def children(pid: int) -> dict[int, str]:
    """The processes below ``pid``, by their names."""
    table = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            text = (folder / "stat").read_text()
        except OSError:  # gone by now
            continue
        name, rest = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :]
        table[int(folder.name)] = (name, int(rest.split()[1]))
    found: dict[int, str] = {}
    below = {pid}
    while below:
        below = {child for child, (_, parent) in table.items() if parent in below}
        found |= {child: table[child][0] for child in below}
    return found


def listening(pids: Iterable[int]) -> dict[tuple[int, int], str]:
    """The address of each process's ports that listen, as /proc has it, by process and port."""
    ports = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            _, local, _, state, *_, inode = line.split()[:10]
            if state == "0A":
                address, _, port = local.partition(":")
                ports[f"socket:[{inode}]"] = (address, int(port, 16))
    found = {}
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            with suppress(OSError):
                if (held := os.readlink(link)) in ports:
                    where, number = ports[held]
                    found[pid, number] = where
    return found


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


def check_closed_to_others(pid: int, ours: dict[int, str], temporary: Path) -> None:
    """All that listens is on the loopback device and wants the token; the folder is shut."""
    ports = listening([pid, *ours])
    assert {name for (found, _) in ports for name in [ours.get(found)]} >= {"raylet", "gcs_server", None}
    assert set(ports.values()) <= LOOPBACK, ports
    [head] = [port for found, port in ports if ours.get(found) == "gcs_server"]
    assert ask("127.0.0.1", head, "") == ask("127.0.0.1", head, "a guess") == "refused"
    [folder] = [each for each in temporary.iterdir() if not each.name.startswith("rayduce-torch-")]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and folder.stat().st_uid == os.getuid()
    assert list(folder.glob("r/session_2*/sockets/raylet*"))


@pytest.fixture
def temporary() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="rd", dir="/tmp"))  # short, for the sake of Ray's sockets
    yield folder
    shutil.rmtree(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("process", "what"),
    [("raylet", "Ray's process on this machine"), ("gcs_server", "Ray's head process")],
)
def test_a_killed_ray_is_told_and_how_to_go_on(
    tmp_path: Path, temporary: Path, process: str, what: str
) -> None:
    store = tmp_path / "store"
    command = [
        sys.executable,
        "-m",
        "rayduce.commands.app",
        "sweep",
        "digits",
        "--name",
        "d",
        "--store",
        str(store),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)}
    del environment["RAY_AUTH_TOKEN"]
    with subprocess.Popen(
        command, env=environment, cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as sweep:
        assert sweep.stdout is not None
        while "training the teacher" not in (line := sweep.stdout.readline()):
            assert line, sweep.communicate()
        ours = children(sweep.pid)
        check_closed_to_others(sweep.pid, ours, temporary)
        [victim] = [pid for pid, name in ours.items() if name == process]
        os.kill(victim, signal.SIGKILL)
        _, errors = sweep.communicate(timeout=200)
    assert sweep.returncode in (1, 2)
    last = errors.strip().splitlines()[-1]
    assert last.startswith(f"Error: {what} ({process}) has ended (killed by signal 9"), errors
    assert last.endswith(f"and the sweep with it; go on with: rayduce resume d --store {store}")
    found = open_store(store, own_database(store)).sweep("d")
    assert found.state == "stopped"
    deadline = time.monotonic() + 60
    while left := [name for pid, name in ours.items() if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    shutil.rmtree(store)
