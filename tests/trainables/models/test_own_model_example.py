"""The documented example of a user's own network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from trainables.models.custom import Custom, allow

ROOT = Path(__file__).resolve().parents[3]
TARGET = "examples.own_model:SeparableNet"


def test_it_runs_as_a_script() -> None:
    script = str(ROOT / "examples" / "own_model.py")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    network = Custom(TARGET)
    allow(TARGET)
    count = sum(parameter.numel() for parameter in network.build((1, 8, 8), 10).parameters())
    assert done.stdout.startswith(f"{count} parameters") and "logits of shape (2, 10)" in done.stdout


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32)])
def test_depth_and_width_scale_it(shape: tuple[int, ...]) -> None:
    allow(TARGET)

    def size(depth: int, width: float) -> int:
        network = Custom(TARGET, depth=depth, width=width).build(shape, 5)
        assert network(torch.randn(2, *shape)).shape == (2, 5)
        return sum(parameter.numel() for parameter in network.parameters())

    assert size(1, 0.25) < size(1, 1.0) < size(2, 1.0) < size(2, 2.0)


def test_it_learns() -> None:
    allow(TARGET)
    torch.manual_seed(0)
    network = Custom(TARGET).build((1, 8, 8), 2)
    inputs = torch.randn(64, 1, 8, 8)
    inputs[:, :, :4] += torch.tensor([-1.0, 1.0]).repeat(32)[:, None, None, None]
    targets = torch.arange(64) % 2
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    for _ in range(20):
        loss = torch.nn.functional.cross_entropy(network(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float((network.eval()(inputs).argmax(1) == targets).float().mean()) > 0.9
