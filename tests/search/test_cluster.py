"""Joining a cluster: admission, code and store; `tests/cluster` does the same on real hosts."""

from __future__ import annotations

import os
import re
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import ray

from search.clusters import ray_probe
from search.clusters.cluster import check_reachable, share_store, workers_environment
from search.clusters.environment import own_token, prepare_environment
from search.problem import Problem
from tests.recipes import STUDENT
from trainables import methods, store_mark
from trainables.origins import Fresh
from trainables.recipe import canonical_json
from trainables.store_mark import StoreMark, StoreNotShared, leave_mark
from trainables.tasks import Digits
from trainables.trainable import StudentTrial
from trainables.training.trial_metrics import TrialSettings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def head(ray_session: None) -> str:
    """Address of a real head that asks for the token in RAY_AUTH_TOKEN."""
    return str(ray.get_runtime_context().gcs_address)


@contextmanager
def somebody(answer: bytes) -> Iterator[int]:
    """A port whose server says ``answer`` and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def test_a_real_head_lets_the_right_token_in_and_no_other(head: str) -> None:
    host, port = head.split(":")
    token = os.environ["RAY_AUTH_TOKEN"]
    assert ray_probe.ask(host, int(port), token) == "accepted"
    # Lengths on both sides of where one byte no longer holds them, and where two no longer do.
    for wrong in ("", "x", token[:-1], "y" * 119, "y" * 120, "y" * 300, "z" * 4000):
        assert ray_probe.ask(host, int(port), wrong) == "refused", len(wrong)


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0\0", b"SSH-2.0-OpenSSH_9.2p1\r\n" * 10]
)
def test_what_is_no_ray_is_told_apart(answer: bytes) -> None:
    with somebody(answer) as port:
        assert ray_probe.ask("127.0.0.1", port, "token") == "unknown"


def test_silence_ends() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(TimeoutError):
        ray_probe.ask("127.0.0.1", silent.getsockname()[1], "token", seconds=0.1)


def test_the_user_is_told_what_is_wrong_with_an_address(head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_reachable(head) == head
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    with pytest.raises(Problem, match="refused us: it asks for another token than ours"):
        check_reachable(head)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(Problem, match=r"it asks for a token \(RAY_AUTH_MODE=token\)"):
        check_reachable(head)
    with somebody(b"220 mail\r\n") as port, pytest.raises(Problem, match="is no Ray cluster"):
        check_reachable(f"127.0.0.1:{port}")
    for address in ("ray://head:10001", "head", "head:", ":6379", "head:http", "127.0.0.1:99999", "head:0"):
        with pytest.raises(Problem, match="HOST:PORT"):
            check_reachable(address)
    with pytest.raises(Problem, match="No Ray cluster answers"):
        check_reachable("127.0.0.1:1")


def test_a_machine_in_no_cluster_has_no_auto(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray._private.services, "find_gcs_addresses", set)  # those of other programs here
    with pytest.raises(Problem, match="node of no Ray cluster"):
        check_reachable("auto")


def test_the_token_comes_from_where_ray_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "token"
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(path))
    monkeypatch.setenv("RAY_AUTH_TOKEN", "given\n")
    assert own_token("head:6379") == "given"
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    for content in (None, "", " \n"):
        if content is not None:
            path.write_text(content)
        with pytest.raises(Problem, match=f"head:6379 asks for a token.*{re.escape(str(path))}"):
            own_token("head:6379")
    path.write_text("of the file\n")
    path.chmod(0o644)
    assert own_token("head:6379") == "of the file"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert own_token("head:6379") == ""
    monkeypatch.setenv("RAY_AUTH_MODE", "tokn")
    with pytest.raises(Problem, match="'tokn'"):
        prepare_environment("head:6379")


def test_a_local_ray_gets_a_token_of_its_process() -> None:
    ask = "import os; from search.clusters.environment import prepare_environment as p; p(None); "
    ask += "first = os.environ['RAY_AUTH_TOKEN']; p(None); print(first, os.environ['RAY_AUTH_TOKEN'])"
    pairs = [
        subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True).stdout.split()
        for _ in range(2)
    ]
    assert all(first == again and re.fullmatch("[0-9a-f]{64}", first) for first, again in pairs)
    assert pairs[0] != pairs[1]
    prepare_environment(None)
    assert os.environ["RAY_AUTH_MODE"] == "token"


def test_workers_get_our_code_and_the_own_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "alone.py").write_text("class Net: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    for own, extra in (
        (None, set()),
        ("alone:Net", {"alone.py"}),
        ("examples.own_model:SeparableNet", {"examples"}),
        ("torchvision.models:ResNet", set()),  # installed: every node has it
        ("trainables.models:ConvNet", set()),
    ):
        with workers_environment(own) as environment:
            folder = Path(environment["working_dir"])
            assert {path.name for path in folder.iterdir()} == {
                "rayduce_reader",
                "search",
                "spaces",
                "studies",
                "trainables",
            } | extra
            sent = {
                str(path.relative_to(folder)) for path in (folder / "search").rglob("*") if path.is_file()
            }
            mine = {str(path.relative_to(ROOT)) for path in (ROOT / "search").rglob("*.py")} | {
                "search/py.typed"
            }
            assert sent == mine
            assert environment["env_vars"]["RAY_USAGE_STATS_ENABLED"] == "0"
            assert not any("TOKEN" in name for name in environment["env_vars"])
        assert not folder.exists()


def test_a_store_that_all_nodes_see_is_marked(ray_session: None, tmp_path: Path) -> None:
    first, second = share_store(tmp_path / "store", "digits-1"), share_store(tmp_path / "store", "digits-1")
    second.check()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_mark, "PATIENCE_S", 0.0)
        with pytest.raises(StoreNotShared, match="what the driver wrote to it is not there"):
            first.check()  # of another start
    assert [path.name for path in (tmp_path / "store" / "nodes").iterdir()] == ["digits-1"]


def test_a_store_of_the_same_name_elsewhere_is_refused(
    ray_session: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The one path that is not the same folder in two processes of a machine.
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Problem, match=r"is not shared by all nodes .* mounted at the same path"):
        share_store(Path("/proc/self/cwd/store"), "digits-1")
    assert list((tmp_path / "store" / "nodes").iterdir()) == []


def test_a_store_that_can_only_be_read_is_not_shared() -> None:
    # The superuser may write everywhere, but nobody makes files there.
    mark = StoreMark(Path("/proc/version"), Path("/proc/version").read_text())
    with pytest.raises(StoreNotShared, match="it cannot be written there"):
        mark.check()


def test_a_trial_on_a_node_that_joined_later_says_that_it_does_not_see_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = leave_mark(tmp_path, "digits-1")
    recipe = methods.full_precision(methods.Setting(Digits(), Fresh(STUDENT), epochs=1))

    class Local(StudentTrial):
        def setup(self, config):
            settings = TrialSettings(None, 100_000, store_mark=mark)
            super().setup(config, arrays=Digits().load(None), teachers={}, outputs=(), settings=settings)

    Local({"recipe": canonical_json(recipe)}).stop()
    mark.path.unlink()
    monkeypatch.setattr(store_mark, "PATIENCE_S", 0.0)
    with pytest.raises(StoreNotShared, match=f"{socket.gethostname()} cannot use the store {tmp_path}"):
        Local({"recipe": canonical_json(recipe)})
