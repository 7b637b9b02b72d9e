"""Servers that a test can really kill: MLflow's, and a PostgreSQL of its own."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    """A port on the loopback interface that nobody has."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


class Server:
    """MLflow's server on a port of its own, which can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[str]

    def start(self) -> None:
        arguments = [self.folder / "mlflow.db", self.folder / "kept", self.port]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.search.mlflow_server", *map(str, arguments)],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert self.process.stdout is not None and self.process.stdout.readline() == "up\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()


def no_postgresql() -> str:
    """Why no PostgreSQL can be started here; empty if one can."""
    if _binary("initdb") is None:
        return "no PostgreSQL server is installed (apt-get install postgresql)"
    if importlib.util.find_spec("psycopg") is None:
        return "no driver for PostgreSQL is installed (pip install '.[postgresql]')"
    return ""


class Postgresql:
    """A PostgreSQL server with one empty database; root starts it as ``postgres``, for it refuses to be root.

    Args:
        folder: of its data; must be reachable for that user.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.uri = f"postgresql://rayduce:secret@127.0.0.1:{self.port}/mlflow"

    def start(self) -> None:
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres")
        self._run("initdb", "-D", self.folder, "-A", "trust", "-U", "rayduce", "--no-sync")
        settings = f"-c listen_addresses=127.0.0.1 -c fsync=off -p {self.port} -k {self.folder}"
        self._run("pg_ctl", "-D", self.folder, "-w", "-l", self.folder / "log", "-o", settings, "start")
        self._run("createdb", "-h", "127.0.0.1", "-p", self.port, "-U", "rayduce", "mlflow")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", self.folder, "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: object) -> None:
        # Not subprocess's own change of user: the server must not keep groups and home of root.
        command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]
        command = [*(command if os.geteuid() == 0 else []), str(_binary(program)), *map(str, arguments)]
        # The server keeps what pg_ctl inherits, so nothing may wait for the end of a pipe.
        with open(self.folder.parent / "said", "ab") as said:
            subprocess.run(command, check=True, cwd="/", stdout=said, stderr=said)


def _binary(name: str) -> Path | None:
    """A program of PostgreSQL; Debian keeps them out of the path."""
    if found := shutil.which(name):
        return Path(found)
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return installed[-1] if installed else None
