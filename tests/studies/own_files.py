"""Users' files for tests: a network with its checkpoint, and data that needs no download."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

NET = """
import torch
from torch import nn
from torch.utils.data import TensorDataset

torch.manual_seed(0)
INPUTS = torch.randn(300, 1, 8, 8)
LABELS = (INPUTS[:, 0, :4].mean((1, 2)) > 0).long() + 2 * (INPUTS[:, 0, 4:].mean((1, 2)) > 0).long()


def network():
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Flatten(), nn.Linear(256, 4),
    )


def data(split):
    part = {"train": slice(0, 200), "validation": slice(200, 250), "test": slice(250, None)}[split]
    return TensorDataset(INPUTS[part], LABELS[part])
"""
"""A classifier of four classes; its weights are as they were drawn."""

REGRESSION = """
import torch
from torch import nn
from torch.utils.data import TensorDataset

torch.manual_seed(0)
A, B = torch.randn(240, 6), torch.randn(240, 3)
TARGETS = torch.stack([A.sum(1), (A[:, :3] * B).sum(1)], 1)


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.head = nn.Linear(6, 24), nn.Linear(3, 24), nn.Linear(24, 2)

    def forward(self, first, second):
        return self.head((self.a(first) + self.b(second)).relu())


class Pairs:
    def __init__(self, part):
        self.numbers = range(240)[part]

    def __len__(self):
        return len(self.numbers)

    def __getitem__(self, number):
        number = self.numbers[number]
        return (A[number], B[number]), TARGETS[number]


def network():
    torch.manual_seed(1)
    return Two()


def data(split):
    return Pairs({"train": slice(0, 160), "validation": slice(160, 200), "test": slice(200, None)}[split])


def quality(network, batches):
    with torch.no_grad():
        errors = [(network(*inputs) - target).square().mean(1) for inputs, target in batches]
    return torch.cat(errors).mean().sqrt().item()


quality.goal, quality.label, quality.unit = "down", "RMSE", "m"
"""
"""Two inputs by position, outputs that are no classes, and a quality of which less is better."""


def write(folder: Path, text: str = NET, name: str = "own_net") -> Path:
    """The file ``name`` in ``folder``."""
    path = folder / f"{name}.py"
    path.write_text(text)
    return path


def plain(text: str = NET) -> nn.Module:
    """The network of a file's text."""
    scope: dict[str, object] = {}
    exec(text, scope)
    network = scope["network"]()  # type: ignore[operator]
    assert isinstance(network, nn.Module)
    return network


__all__ = ["NET", "REGRESSION", "plain", "torch", "write"]
