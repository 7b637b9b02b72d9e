"""Your own network whose outputs are no classes: from 24 hours of a temperature to the next three.

Run from the folder above ``examples``:

    python examples/own_regression.py          # trains it and writes own_regression.pt beside this file
    rayduce sweep examples/own_regression.py   # students by their mean absolute error, in kelvin
    rayduce compress examples/own_regression.py --max-drop 0.05   # the smallest that is 0.05 K worse at most
"""

from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

weights = "own_regression.pt"


def network() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv1d(1, 32, 5, padding=2), nn.ReLU(), nn.Conv1d(32, 64, 5, stride=2, padding=2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(64 * 12, 128), nn.ReLU(), nn.Linear(128, 3)),
    )


def data(split: str) -> TensorDataset:
    """Days of 24 hours and 3 more that begin at each hour of a split's own years: (1, 24) and (3,)."""
    first, count = {"train": (0, 3000), "validation": (4000, 600), "test": (5000, 600)}[split]
    hours = torch.arange(6000.0)
    noise = torch.randn(6000, generator=torch.Generator().manual_seed(0))
    degrees = (
        10 + 8 * (hours / 24 * 6.2832).sin() + 5 * (hours / 170).sin() + noise.cumsum(0) / 20 + noise / 4
    )
    windows = degrees[first : first + count + 26].unfold(0, 27, 1)
    return TensorDataset(windows[:, None, :24] / 10 - 1, windows[:, 24:])


def loss(output: Tensor, target: Tensor) -> Tensor:
    return nn.functional.smooth_l1_loss(output, target)


def quality(network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    return torch.cat([(network(inputs) - target).abs() for inputs, target in batches]).mean().item()


quality.goal, quality.label, quality.unit = "down", "mean error", "K"  # type: ignore[attr-defined]


if __name__ == "__main__":
    torch.manual_seed(0)
    trained, (inputs, targets) = network(), data("train").tensors
    optimizer = torch.optim.AdamW(trained.parameters(), 2e-3)
    for _ in range(10):
        for batch in torch.randperm(len(inputs)).split(64):
            optimizer.zero_grad()
            loss(trained(inputs[batch]), targets[batch]).backward()
            optimizer.step()
    torch.save(trained.state_dict(), Path(__file__).with_name(weights))
    print(f"{weights} is written.")
