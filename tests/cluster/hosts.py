"""Hosts on one machine: each has a network, processes and files of its own, and an SSH server.

A host is a set of Linux namespaces that lives as long as one process. Nothing of it has a name outside: when
the process ends, however it ends, its network, its mounts and all its processes end too, and the kernel kills
that process when the one that made it dies. So nothing has to be taken down, and nothing else is touched.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

NETWORK = "10.77.0"
TOOLS = ("unshare", "nsenter", "ip", "mount", "sshd", "ssh", "ssh-keygen", "rsync")
_PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
_KINDS = ("--net", "--pid", "--mount", "--uts", "--ipc")
_UNSHARE = ("unshare", *_KINDS, "--fork", "--kill-child", "--mount-proc")


def why_not() -> str:
    """Why there can be no hosts here; empty if there can."""
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    if missing := [tool for tool in TOOLS if shutil.which(tool, path=_PATH) is None]:
        return f"not installed: {', '.join(missing)}"
    tried = subprocess.run([*_UNSHARE, "true"], capture_output=True, text=True, check=False)
    return tried.stderr.strip()


class Host:
    """One of them; made by :class:`Rack`.

    Args:
        name: its host name.
        folder: of its own files; ``home`` in it is root's home directory there.
        shared: folders under /tmp that are the machine's here too; the rest of /tmp is this host's own.
        private: folders that are empty here, and this host's alone, where the other hosts have theirs.
    """

    def __init__(self, name: str, folder: Path, shared: Sequence[Path], private: Sequence[Path]) -> None:
        self.name, self.folder, self.home = name, folder, folder / "home"
        self.home.mkdir(parents=True)
        for path in private:
            path.mkdir(parents=True, exist_ok=True)
        lines = Path("/etc/passwd").read_text().splitlines()
        (folder / "passwd").write_text("".join(f"{_with_home(line, self.home)}\n" for line in lines))
        steps = [
            f"hostname {name}",
            f"mount --bind {shlex.quote(str(folder / 'passwd'))} /etc/passwd",
            "mount -t tmpfs tmpfs /run",
            "mkdir /run/sshd",
            *(_bind(path, f"/run/shared/{number}") for number, path in enumerate(shared)),
            "mount -t tmpfs tmpfs /tmp",
            *(_bind(f"/run/shared/{number}", path) for number, path in enumerate(shared)),
            *(f"mount -t tmpfs tmpfs {shlex.quote(str(path))}" for path in private),
            "ip link set lo up",
            f"touch {shlex.quote(str(folder / 'ready'))}",
            "sleep infinity & wait",  # and not exec: the first process has to bury the orphans
        ]
        self._process = subprocess.Popen(
            [*_UNSHARE, "bash", "-ec", "; ".join(steps)],
            env={**os.environ, "PATH": _PATH},
            stdin=subprocess.DEVNULL,
            preexec_fn=_die_with_parent,
        )
        try:
            _wait_for((folder / "ready").exists, f"host {name}")
            pid = self._process.pid
            self.pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text())
        except BaseException:
            self.kill()
            raise

    def inside(self, command: Sequence[str]) -> list[str]:
        """The ``command`` as it is run inside."""
        return ["nsenter", f"--target={self.pid}", *_KINDS, "--", *command]

    def environment(self) -> Mapping[str, str]:
        """Of a person who is logged in: nothing of the surrounding session's Ray or Python."""
        return {"PATH": _PATH, "HOME": str(self.home), "LANG": "C.UTF-8", "USER": "root"}

    def run(
        self, command: Sequence[str], timeout: float = 120, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run ``command`` inside and return how it went; output and errors are one text."""
        return subprocess.run(
            self.inside(command),
            env={**self.environment(), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
        )

    def start(self, command: Sequence[str], log: Path, **environment: str) -> subprocess.Popen[bytes]:
        """Start ``command`` inside; its output goes to the file ``log``."""
        with log.open("wb") as file:
            return subprocess.Popen(
                self.inside(command),
                env={**self.environment(), **environment},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                preexec_fn=_die_with_parent,
            )

    def must(self, command: Sequence[str]) -> str:
        """Run ``command`` inside and return its output.

        Raises:
            RuntimeError: it failed; the message holds its output.
        """
        done = self.run(command)
        if done.returncode != 0:
            what = f"{shlex.join(command)} ended with {done.returncode}"
            raise RuntimeError(f"on {self.name}: {what}:\n{done.stdout}")
        return done.stdout

    def cut_off(self) -> None:
        """Take its network away; its processes go on."""
        self.must(["ip", "link", "set", "eth0", "down"])

    def processes(self, word: str) -> list[int]:
        """Process ids, as seen inside, of those whose command line holds ``word``."""
        lines = self.must(["ps", "-eo", "pid=,args="]).splitlines()
        found = [line.split(None, 1) for line in lines if word in line]
        return [int(pid) for pid, _ in found]

    def kill_process(self, pid: int) -> None:
        """SIGKILL to a process of this host, by its id inside."""
        self.must(["kill", "-KILL", str(pid)])

    def kill(self) -> None:
        """Switch it off: all its processes die at once."""
        self._process.kill()
        self._process.wait()


class Rack:
    """An operator's machine and ``count`` hosts on one network; a context manager.

    The operator is ``NETWORK.1`` and the hosts are ``NETWORK.11`` upwards. All see the machine's disk, except
    that /tmp, /run, /etc/passwd and the ``private`` folders are each host's own. Root may log in on each with
    the key ``key``.

    Args:
        folder: for the files of all of them.
        count: hosts beside the operator.
        shared: further folders that all of them see, even if they are under /tmp.
        private: further folders of which each host has its own.
    """

    def __init__(
        self, folder: Path, count: int, shared: Sequence[Path] = (), private: Sequence[Path] = ()
    ) -> None:
        self._folder, self._count, self._private = folder, count, private
        self._shared = [path for path in (folder, *shared) if path.is_relative_to("/tmp")]
        self.key = folder / "key"
        self.addresses = tuple(f"{NETWORK}.{11 + i}" for i in range(count))
        self._stack = ExitStack()

    def __enter__(self) -> Rack:
        with self._stack as stack:
            _keygen(self.key)
            self.operator = self._host("operator", stack)
            self.hosts = tuple(self._host(f"host{i}", stack) for i in range(self._count))
            self._connect()
            for host in self.hosts:
                self._serve_ssh(host)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _host(self, name: str, stack: ExitStack) -> Host:
        host = Host(name, self._folder / name, self._shared, self._private)
        stack.callback(host.kill)
        return host

    def _connect(self) -> None:
        """A bridge on the operator's machine, and a cable from it to each host."""
        self.operator.must(["ip", "link", "add", "switch", "type", "bridge"])
        self.operator.must(["ip", "address", "add", f"{NETWORK}.1/24", "dev", "switch"])
        self.operator.must(["ip", "link", "set", "switch", "up"])
        for number, (host, address) in enumerate(zip(self.hosts, self.addresses, strict=True)):
            cable = f"cable{number}"
            # The host's process id is the machine's, so this is done from outside, in the operator's network.
            ends = f"{cable} type veth peer name eth0 netns {host.pid}"
            subprocess.run(
                ["nsenter", f"--target={self.operator.pid}", "--net", "ip", "link", "add", *ends.split()],
                env={**os.environ, "PATH": _PATH},
                check=True,
            )
            self.operator.must(["ip", "link", "set", cable, "master", "switch", "up"])
            host.must(["ip", "address", "add", f"{address}/24", "dev", "eth0"])
            host.must(["ip", "link", "set", "eth0", "up"])
            host.must(["ip", "route", "add", "default", "via", f"{NETWORK}.1"])  # by it Ray knows its address

    def _serve_ssh(self, host: Host) -> None:
        _keygen(host.folder / "host_key")
        authorized = host.folder / "authorized_keys"
        authorized.write_text(self.key.with_suffix(".pub").read_text())
        authorized.chmod(0o600)
        (host.folder / "sshd_config").write_text(
            f"HostKey {host.folder / 'host_key'}\nAuthorizedKeysFile {authorized}\nPermitRootLogin yes\n"
            "StrictModes no\nUsePAM no\nPasswordAuthentication no\n"
            "PidFile none\nMaxSessions 50\nMaxStartups 50\n"
        )
        sshd = shutil.which("sshd", path=_PATH)
        host.must([str(sshd), "-f", str(host.folder / "sshd_config"), "-E", str(host.folder / "sshd.log")])


def _with_home(line: str, home: Path) -> str:
    fields = line.split(":")
    return ":".join([*fields[:5], str(home), "/bin/bash"]) if fields[0] == "root" else line


def _bind(source: Path | str, target: Path | str) -> str:
    where = shlex.quote(str(target))
    return f"mkdir -p {where}; mount --bind {shlex.quote(str(source))} {where}"


def _keygen(path: Path) -> None:
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait_for(condition: object, what: str, seconds: float = 20) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"{what} was not there within {seconds} s")
        time.sleep(0.05)
