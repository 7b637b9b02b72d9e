"""A sweep that measures its students on a device, is killed while it does, and goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from search.log.folder import SweepFolder
from search.store.store import open_store

ROOT = Path(__file__).resolve().parents[2]
WAIT = 600  # seconds until the test gives up; nothing is asserted about time

NETWORK = """
import torch
from torch import nn
from torch.utils.data import TensorDataset


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 24), nn.ReLU(), nn.Linear(24, 3))


def data(split):
    generator = torch.Generator().manual_seed(["train", "validation", "test"].index(split))
    inputs = torch.randn(128, 1, 4, 4, generator=generator)
    return TensorDataset(inputs, inputs[:, 0, 0, :3].argmax(1))
"""

DEVICE = """
set -eu
cd "$(dirname "$0")"
mkdir held || exit 9  # somebody else asks at the same time
echo x >> calls
if [ -e stop ]; then echo $$ > new; mv new waiting; sleep 600; fi
latency=1
if [ -e training ]; then
    echo x >> later
    [ $(($(wc -l < later) % 2)) -eq 1 ] || latency=9
fi
rmdir held
echo "{\\"latency_ms\\": $latency, \\"energy_mj\\": $(wc -c < "$3")}"
"""
"""Every other student that is asked about while trials run is too slow for the limit."""


def rayduce(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "rayduce.commands.app", *map(str, arguments)]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def until(path: Path, process: subprocess.Popen[str]) -> None:
    """Wait until there is something at ``path``."""
    deadline = time.monotonic() + WAIT
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def gone(pid: int) -> bool:
    """Whether a process that is nobody's child here ends."""
    deadline = time.monotonic() + WAIT
    while Path(f"/proc/{pid}").exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.slow
@pytest.mark.xdist_group("sweep")
def test_a_sweep_by_a_devices_numbers_is_killed_and_goes_on(tmp_path: Path) -> None:
    board, store = tmp_path / "board", tmp_path / "store"
    board.mkdir()
    (board / "ask.sh").write_text(DEVICE)
    command = f"sh {board}/ask.sh --password hunter2-board {{onnx}}"
    aims = ("--minimize", "energy_mj", "--max", "latency_ms=5", "--max", "energy_mj=1e9")
    small = ("--trials", 6, "--epochs", 2, "--concurrency", 2, "--store", store, "--name", "s")
    net = tmp_path / "net.py"
    net.write_text(NETWORK)
    sweep = rayduce("sweep", net, *small, *aims, "--measure", command, "--device", "board")
    until(store / "trials" / "s", sweep)
    (board / "training").touch()
    (board / "stop").touch()
    until(board / "waiting", sweep)
    sweep.kill()
    sweep.communicate()
    assert gone(int((board / "waiting").read_text()))  # nobody measures for a sweep that is gone
    (board / "stop").unlink()
    (board / "held").rmdir()

    forgotten = rayduce("resume", "s", "--store", store, "--model", net)
    _, errors = forgotten.communicate()
    assert forgotten.returncode == 2 and "--measure 'COMMAND {onnx}'" in errors
    before = len((board / "calls").read_text().split())
    resumed = rayduce("resume", "s", "--store", store, "--model", net, "--measure", command)
    out, errors = resumed.communicate(timeout=WAIT)
    assert resumed.returncode == 0 and "Traceback" not in errors, out + errors
    assert "energy on" in out

    opened = open_store(store)
    found, trials = opened.sweep("s"), opened.trials("s")
    assert found.device == "board" and found.costs == ("packed_bytes", "device_energy_mj")
    assert found.budget.limits == {"device_latency_ms": 5.0, "device_energy_mj": 1e9}
    assert found.metrics["teacher_device_latency_ms"] == 1.0
    finished = trials[trials["state"] == "finished"]
    assert len(trials) == 6 and (finished["device_latency_ms"] == 1.0).all() and len(finished)
    assert (finished["device_energy_mj"] > 100).all()  # here the bytes of the file
    slow = trials[trials["device_latency_ms"] == 9.0]
    assert len(slow) and (slow["state"] == "pruned").all()
    assert slow["reason"].str.contains("its latency on board is 9 ms, 4 more than 5").all()
    for run_id in slow["run_id"]:
        assert "loss" not in opened.history(run_id) or opened.history(run_id)["loss"].isna().all()

    kept = json.loads((store / "devices" / "board.json").read_bytes())
    calls = len((board / "calls").read_text().split())
    assert calls == len(kept["numbers"]) + 1 > before  # each once, and the one that was killed
    assert kept["failed"] == {}
    for path in store.rglob("*"):
        assert not path.is_file() or b"hunter2" not in path.read_bytes(), path
    assert SweepFolder(store, "s").events()[0]["settings"]["options"]["device"] == "board"
