"""The list of what is reported."""

from __future__ import annotations

import subprocess
import sys

import pytest

from trainables.metrics import METRICS
from trainables.metrics.base import Metric


def test_names_are_unique_and_explained() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    assert {
        "packed_bytes",
        "compression_ratio",
        "latency_ms",
        "macs",
        "sparsity",
        "mean_bits",
        "parameters",
    } <= {*names}
    for metric in METRICS:
        assert metric.label
        assert metric.meaning.endswith(".")


def test_a_goal_is_up_or_down() -> None:
    with pytest.raises(ValueError, match="goal must be one of up, down, got goal='left'"):
        Metric("a", "a", "left", "", "A.")


def test_the_list_loads_no_torch() -> None:
    program = "import sys, trainables.metrics; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
