"""Nothing is sent: what a sweep and the commands after it ask of the network, and write outside the store."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.stores import make_blank

ROOT = Path(__file__).resolve().parents[1]
PYTHON = sys.executable
ENTRIES = (
    "trainables.runtime",
    "trainables.trainable",
    "spaces",
    "search.sweeps.sweep",
    "rayduce.commands.app",
    "search.store.store",
    "dashboards.app",
    "dashboards.figures",
    "examples.measure_here",
)
SPY = """
import importlib, os, sys
from importlib.abc import MetaPathFinder

class Spy(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        wanted = {
            "onnxruntime": ("ORT_DISABLE_TELEMETRY", "1"),
            "mlflow": ("MLFLOW_DISABLE_TELEMETRY", "true"),
            "ray": ("RAY_USAGE_STATS_ENABLED", "0"),
        }.get(name)
        if wanted is not None:
            assert os.environ[wanted[0]] == wanted[1], name
        return None

sys.meta_path.insert(0, Spy())
importlib.import_module(sys.argv[1])
"""
REPORTING = {
    "ORT_DISABLE_TELEMETRY": "0",
    "MLFLOW_DISABLE_TELEMETRY": "false",
    "RAY_USAGE_STATS_ENABLED": "1",
    "DO_NOT_TRACK": "0",
}
"""What a user's environment may say; what is promised does not depend on it."""


@pytest.mark.parametrize("entry", ENTRIES)
def test_libraries_are_told_before_they_are_imported(entry: str) -> None:
    environment = {**os.environ, **REPORTING, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([PYTHON, "-c", SPY, entry], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_no_module_has_a_way_to_the_runtime_of_its_own() -> None:
    """The import checker looks at packages; examples and benchmarks are files."""
    files = [path for folder in ("examples", "benchmarks") for path in (ROOT / folder).glob("*.py")]
    assert len(files) > 10
    own = {path for path in files if re.search(r"^\s*(import|from) onnxruntime", path.read_text(), re.M)}
    # That one runs on a device, without Rayduce, and tells the runtime itself, see above.
    assert own == {ROOT / "examples" / "measure_here.py"}


WHERE = r'(?:sin_addr=inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)")'
ADDRESS = re.compile(r"(?:connect|sendto|sendmsg|sendmmsg|bind)\(.*?htons\((\d+)\).*?" + WHERE)
WRITTEN = re.compile(
    r'(?:openat\(AT_FDCWD, |open\()"([^"]+)", [A-Z_|]*O_(?:WRONLY|RDWR|CREAT).*= \d+$'
    r'|(?:mkdir\(|mkdirat\(AT_FDCWD, |creat\()"([^"]+)".*= \d+$'
    r'|rename(?:at2?)?\(.*"([^"]+)"(?:, 0)?\) += 0$'
)
LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
EVERYWHERE = ("/dev/", "/proc/", "/sys/")


@dataclass
class Traced:
    """Runs commands under strace, with folders of their own for everything."""

    folder: Path

    def __post_init__(self) -> None:
        self.home, self.work, self.temporary = (self.folder / name for name in ("home", "work", "t"))
        for path in (self.home, self.work, self.temporary):
            path.mkdir()
        self.store = self.folder / "store"
        self.sent: list[str] = []
        self.written: list[str] = []

    def start(self, *command: object) -> subprocess.Popen[str]:
        """Start ``command`` in a folder of its own, its output kept."""
        kept = {"PATH", "LANG", "LC_ALL", "VIRTUAL_ENV", "LD_LIBRARY_PATH"}
        environment = {name: value for name, value in os.environ.items() if name in kept}
        environment |= {
            **REPORTING,
            "HOME": str(self.home),
            "TMPDIR": str(self.temporary),
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            "NO_COLOR": "1",
        }
        calls = (
            "connect,sendto,sendmsg,sendmmsg,bind,open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2"
        )
        strace = ["strace", "-f", "--seccomp-bpf", "-qq", "-s", "300", "-o", str(self.folder / "trace")]
        return subprocess.Popen(
            [*strace, "-e", f"trace={calls}", *map(str, command)],
            cwd=self.work,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run(self, *command: object) -> None:
        """Run ``command`` to its end."""
        with self.start(*command) as running:
            text, _ = running.communicate(timeout=500)
        assert running.returncode == 0, text
        self.read()

    def serve(self, port: int, *command: object, pages: tuple[str, ...]) -> None:
        """Run a command that serves pages until it is interrupted, and get these."""
        with self.start(*command) as running:
            deadline = time.monotonic() + 300
            while True:
                try:
                    for page in pages:
                        with urllib.request.urlopen(f"http://127.0.0.1:{port}{page}", timeout=60) as answer:
                            assert answer.status == 200
                    break
                except OSError:
                    assert running.poll() is None and time.monotonic() < deadline
                    time.sleep(0.2)
            os.killpg(running.pid, signal.SIGINT)
            running.communicate(timeout=60)
        self.read()

    def read(self) -> None:
        """Note what the last command asked of the network and wrote outside its folders."""
        own = (str(self.store), str(self.temporary), str(self.work), *EVERYWHERE)
        for line in (self.folder / "trace").read_text(errors="replace").splitlines():
            if (found := ADDRESS.search(line)) and not LOOPBACK & set(found.groups()):
                self.sent.append(line)
            if found := WRITTEN.search(line):
                path = next(filter(None, found.groups()))
                if path.startswith("/") and not path.startswith(own):
                    self.written.append(line)


@pytest.fixture
def traced() -> Iterator[Traced]:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: apt-get install strace")
    allowed = subprocess.run(
        ["strace", "-f", "--seccomp-bpf", "-qq", "-o", os.devnull, "true"], capture_output=True, text=True
    )
    if allowed.returncode != 0:
        pytest.skip(f"strace may not trace here: {allowed.stderr.strip()}")
    folder = Path(tempfile.mkdtemp(prefix="rd", dir="/tmp"))  # short, for the sake of Ray's sockets
    yield Traced(folder)
    shutil.rmtree(folder)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_what_is_looked_for_would_be_found(traced: Traced) -> None:
    """A name is looked up, a packet's way is asked for, and a file is written where none may be."""
    code = (
        "import pathlib, socket\n"
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('192.0.2.1', 53))\n"
        "socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).bind(('::', 0))\n"
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('127.0.0.1', 53))\n"
        "(pathlib.Path.home() / 'made').mkdir()\n"
        "(pathlib.Path.home() / 'made' / 'here').write_text('')\n"
        "(pathlib.Path.home() / 'made' / 'here').rename(pathlib.Path.home() / 'there')\n"
        "pathlib.Path('/proc/self/comm').write_text('x')\n"
    )
    traced.run(PYTHON, "-c", code)
    assert [re.findall(r"192\.0\.2\.1|::", line) for line in traced.sent] == [["192.0.2.1"], ["::"]]
    assert [line.rpartition("/")[2].partition('"')[0] for line in traced.written] == ["made", "here", "there"]
    assert files_below(traced.home) == ["made", "there"]


@pytest.mark.slow
def test_a_sweep_and_the_commands_after_it_send_nothing_and_write_to_the_store_alone(traced: Traced) -> None:
    store = ("--store", traced.store)
    sizes = ("--trials", 2, "--epochs", 2, "--concurrency", 1)
    traced.run(PYTHON, "-m", "tests.search.driver", traced.store, "digits-1", *sizes)
    [student, *_] = sorted(traced.store.glob("trials/digits-1/*/student.rdz"))
    cli = (PYTHON, "-m", "rayduce.commands.app")
    traced.run(*cli, "evaluate", student)
    traced.run(*cli, "export", student, "student.onnx")
    traced.run(*cli, "front", *store, "--html", "front.html")
    port = free_port()
    traced.serve(port, *cli, "dashboard", *store, "--port", port, pages=("/", "/_dash-layout"))
    assert traced.sent == []
    assert traced.written == []
    assert files_below(traced.home) == []
    assert files_below(traced.work) == ["front.html", "student.onnx"]
    assert files_below(traced.temporary) == []


@pytest.mark.slow
def test_mlflow_s_own_pages_send_nothing_either(traced: Traced) -> None:
    traced.store.mkdir()
    make_blank(traced.store / "mlflow.db")
    port = free_port()
    command = (PYTHON, "-m", "rayduce.commands.app", "mlflow", "--store", traced.store, "--port", port)
    traced.serve(port, *command, pages=("/", "/health"))
    assert traced.sent == []
    assert files_below(traced.home) == files_below(traced.work) == []


@pytest.mark.slow
def test_the_runtime_alone_sends_nothing(traced: Traced) -> None:
    """The library works in the background from the moment it is loaded: it is given the time to."""
    traced.run(PYTHON, "-c", "import time; from trainables.runtime import load; time.sleep(3)")
    assert traced.sent == traced.written == files_below(traced.home) == []
