"""A node that dies in the middle of a sweep."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_trials_of_a_killed_node_move_and_finish(tmp_path: Path) -> None:
    # As in ray_cluster.yaml, but sooner: a node is given up after two seconds without an answer.
    soon = {
        "RAY_health_check_initial_delay_ms": "500",
        "RAY_health_check_period_ms": "500",
        "RAY_health_check_timeout_ms": "2000",
        "RAY_health_check_failure_threshold": "3",
        "RAY_raylet_start_wait_time_s": "120",  # two nodes start on one machine, which others use too
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.cluster.node_loss", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, **soon},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["states"] == {"00000": "finished", "00001": "finished", "00002": "finished"}, found
    assert found["told"] == ["COMPLETE"] * 3
    assert found["lost"], "nothing ran on the node that was killed"
    for trial, processes in found["processes"].items():
        assert len(processes) == (2 if trial in found["lost"] else 1), found
