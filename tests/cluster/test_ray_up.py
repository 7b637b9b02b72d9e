"""``ray up`` with ``ray_cluster.yaml``, and a sweep that loses two of its three hosts.

Minutes, root and Linux namespaces: it runs only where ``RAYDUCE_CLUSTER`` is set, as by `make cluster-test`.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shlex
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from search.store.store import open_store
from search.teaching.kept import keep_teacher
from studies.known import find_study
from tests.cluster.hosts import Host, Rack, why_not
from trainables.compression.compressed_weight import compress
from trainables.shipping.evaluation import ship

ROOT = Path(__file__).resolve().parents[2]
SITES = [path for path in sys.path if path.endswith("site-packages")]
LAUNCHER = ("aiohttp_cors", "boto3", "grpc", "opencensus", "virtualenv")
"""What ``ray[default]`` brings beside ``ray``; without it there is no ``ray up``."""


def _skip_reason() -> str:
    if not os.environ.get("RAYDUCE_CLUSTER"):
        return "takes minutes: set RAYDUCE_CLUSTER=1, or `make cluster-test`"
    if missing := [name for name in LAUNCHER if importlib.util.find_spec(name) is None]:
        return f"the cluster extra is not installed: {', '.join(missing)}"
    return why_not()


pytestmark = [pytest.mark.skipif(bool(reason := _skip_reason()), reason=reason), pytest.mark.slow]


@dataclass(frozen=True)
class Launched:
    """A cluster that ``ray up`` brought up: the rack, the file it was made from and what is on every disk.

    ``shared`` is one folder for all hosts; ``own`` is another on each.
    """

    rack: Rack
    file: Path
    shared: Path
    own: Path

    @property
    def head(self) -> Host:
        return self.rack.hosts[0]

    def ray(self, *words: str, timeout: float = 1200) -> subprocess.CompletedProcess[str]:
        """Type ``ray ...`` in the project's folder on the operator's machine."""
        line = f"cd {shlex.quote(str(ROOT))} && {sys.executable} -m ray.scripts.scripts {shlex.join(words)}"
        return self.rack.operator.run(["bash", "-c", line], timeout, PYTHONDONTWRITEBYTECODE="1")

    def on_head(self, line: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Type ``line`` on the head, logged in."""
        return self.head.run(["bash", "-c", f". ~/.rayduce_env && cd ~ && {line}"], timeout)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    """Three hosts, their cluster up and all nodes in it."""
    folder = tmp_path_factory.mktemp("rack")
    shared, own = folder / "shared", folder / "own"
    shared.mkdir()
    with Rack(folder, 3, [ROOT, Path(sys.prefix), Path(sys.base_prefix), *map(Path, SITES)], [own]) as rack:
        for host in rack.hosts:
            _install(host)
        token = rack.operator.home / ".ray" / "rayduce_token"
        token.parent.mkdir()
        token.write_text(secrets.token_hex(32))
        token.chmod(0o600)
        launched = Launched(rack, folder / "ray_cluster.yaml", shared, own)
        launched.file.write_text(_filled_in(rack))
        up = launched.ray("up", "-y", "--no-config-cache", str(launched.file))
        assert up.returncode == 0, up.stdout
        wait_until(lambda: all(raylets(host) for host in rack.hosts), 900, "a raylet on each host")
        yield launched
        down = launched.ray("down", "-y", str(launched.file))
        assert down.returncode == 0, down.stdout
        assert not raylets(launched.head)


def _filled_in(rack: Rack) -> str:
    """``ray_cluster.yaml`` with its four values marked CHANGE changed, and nothing else."""
    text = (ROOT / "ray_cluster.yaml").read_text()
    changes = {
        "192.168.1.10  #": f"{rack.addresses[0]}  #",
        "[192.168.1.11, 192.168.1.12]": f"[{', '.join(rack.addresses[1:])}]",
        "ssh_user: rayduce": "ssh_user: root",
        "~/.ssh/id_ed25519": str(rack.key),
    }
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def _install(host: Host) -> None:
    """The environment that runs the tests, where ``ray_cluster.yaml`` would install one over a network."""
    # Three hosts on one machine start slowly; a host of its own does not need this.
    (host.home / ".bashrc").write_text("export RAY_raylet_start_wait_time_s=300\n")
    environment = host.home / "rayduce" / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    [packages] = (environment / "lib").glob("python*/site-packages")
    (packages / "tests.pth").write_text("".join(f"{path}\n" for path in SITES))
    command = environment / "bin" / "ray"
    command.write_text(
        f"#!{environment}/bin/python\nimport sys\nfrom ray.scripts.scripts import main\nsys.exit(main())\n"
    )
    command.chmod(0o755)


def raylets(host: Host) -> list[int]:
    return host.processes("raylet/raylet")


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.5)


def test_every_node_joins_and_keeps_the_token_to_itself(cluster: Launched) -> None:
    wait_until(lambda: nodes(cluster) == 3, 120, "three nodes in the cluster")
    for host in cluster.rack.hosts:
        token = host.home / ".ray" / "auth_token"
        assert stat.S_IMODE(token.stat().st_mode) == 0o600


def nodes(cluster: Launched) -> int:
    counted = cluster.on_head(
        'python -c \'import ray; ray.init("auto", logging_level=40, log_to_driver=False); '
        'print("nodes", sum(node["Alive"] for node in ray.nodes()))\''
    )
    found = [line.split()[1] for line in counted.stdout.splitlines() if line.startswith("nodes ")]
    assert found, counted.stdout
    return int(found[0])


def test_the_dashboard_listens_on_the_heads_loopback(cluster: Launched) -> None:
    listening = cluster.head.must(["ss", "-Hltn", "sport", "=", ":8265"]).split()
    assert listening[3] == "127.0.0.1:8265"


def test_a_client_without_the_token_is_refused_at_once(cluster: Launched) -> None:
    store = f"--store {cluster.shared}/refused"
    for setting in ("RAY_AUTH_TOKEN=0123456789abcdef0123456789abcdef", "RAY_AUTH_MODE=disabled"):
        done = cluster.on_head(f"{setting} rayduce sweep digits --address auto {store}")
        assert done.returncode != 0 and "refused us" in done.stdout, done.stdout
    # Ray itself refuses too: what is ours is only the sentence.
    joined = cluster.on_head(
        'RAY_AUTH_MODE=disabled python -c \'import ray; ray.init("auto"); print("let in")\'', timeout=200
    )
    assert joined.returncode != 0 and "let in" not in joined.stdout
    assert not (cluster.shared / "refused").exists()


def test_a_store_that_the_workers_do_not_see_is_refused(cluster: Launched) -> None:
    done = cluster.on_head(f"rayduce sweep digits --address auto --store {cluster.own}/store")
    told = " ".join(done.stdout.split())
    assert done.returncode != 0 and "is not shared by all nodes" in told, done.stdout
    for address in cluster.rack.addresses[1:]:
        assert f"{address}: " in told
    assert f"{cluster.rack.addresses[0]}: " not in told  # the head's own


def test_a_sweep_survives_a_cut_cable_and_a_killed_node(cluster: Launched) -> None:
    trials = 8
    store = cluster.shared / "store"
    log = cluster.shared / "sweep.log"
    keep_untrained_teacher(store)
    size = f"--trials {trials} --epochs 10 --scheduler none"
    sweep = f"rayduce sweep digits --name lost --address auto {size} --store {store}"
    driver = cluster.head.start(["bash", "-c", f". ~/.rayduce_env && cd ~ && {sweep}"], log)
    _, killed, cut = cluster.rack.hosts

    def working(host: Host) -> bool:
        assert driver.poll() is None, log.read_text()
        # At work, an actor is called after the class in which Tune wraps the trainable.
        return bool(host.processes("ray::StudentTrial") or host.processes("ray::_Inner"))

    wait_until(lambda: working(killed) and working(cut), 900, "trials on both workers")
    wait_until(lambda: finished(store) >= 1, 900, "the first finished trial")
    assert working(killed) and working(cut), "the sweep was over before anything was lost"
    cut.cut_off()
    for pid in raylets(killed):
        killed.kill_process(pid)
    assert driver.wait(timeout=1800) == 0, log.read_text()
    trials_run = open_store(store).trials("lost")
    assert list(trials_run["state"]) == ["finished"] * trials
    assert len(list((store / "trials" / "lost").glob("*/"))) == trials


def keep_untrained_teacher(store: Path) -> None:
    """What an earlier sweep would have left; training one is half of the time, and not what is tested."""
    study = find_study("digits")
    task = study.make_task(None, {})
    recipe = study.teacher_recipe(task)
    network = compress(recipe.model.build(task.input_shape, task.outputs), recipe)
    keep_teacher(store, recipe, ship(recipe, network))


def finished(store: Path) -> int:
    """How many trials have ended well so far."""
    database = store / "mlflow.db"
    return (
        0 if not database.exists() else int((open_store(store).trials("lost")["state"] == "finished").sum())
    )
