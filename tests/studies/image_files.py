"""Folders of small images and files with networks for them, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

NET = """
import torch
from torch import nn

CHANNELS = {channels}


class Tiny(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(CHANNELS, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        )
        self.head = nn.Linear(16, classes)

    def forward(self, images):
        return self.head(self.body(images).mean((2, 3)))


def make({argument}):
    return Tiny({classes})
"""
"""Any image size; ``classes`` is what the function gives to the network."""


def write_net(
    folder: Path, name: str, argument: str = "classes", classes: str = "classes", channels: int = 3
) -> Path:
    """The file ``name`` with ``make(argument)``."""
    path = folder / f"{name}.py"
    path.write_text(NET.format(argument=argument, classes=classes, channels=channels))
    return path


def network_of(path: Path, classes: int = 2) -> nn.Module:
    """The network in a file of :func:`write_net`, with weights that are always the same."""
    scope: dict[str, object] = {}
    exec(path.read_text(), scope)
    torch.manual_seed(3)
    network = scope["Tiny"](classes)  # type: ignore[operator]
    assert isinstance(network, nn.Module)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()


def write_images(
    root: Path,
    classes: tuple[str, ...] = ("bright", "dark"),
    count: int = 20,
    mode: str = "RGB",
    side: int = 8,
) -> Path:
    """Images of noise whose brightness tells the class."""
    random = np.random.default_rng(0)
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        low = 160 * label // len(classes)
        for number in range(count):
            pixels = random.integers(low, low + 96, (side, side, 3), dtype=np.uint8)
            Image.fromarray(pixels).convert(mode).save(root / name / f"{number}.png")
    return root
