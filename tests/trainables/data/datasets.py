"""Datasets as users write them."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch

MEAN, DEVIATION = (torch.tensor(values)[:, None, None] for values in ((0.49, 0.48, 0.44), (0.2, 0.21, 0.22)))


def normalised(count: int, side: int = 8) -> torch.Tensor:
    """Images as ToTensor() and Normalize make them of bytes."""
    values = torch.from_numpy(np.random.RandomState(0).randint(0, 256, (count, 3, side, side)))
    return (values.float() / 255 - MEAN) / DEVIATION


class Images:
    """Images and labels; with ``noise`` the images are random ones."""

    def __init__(self, images: torch.Tensor, noise: bool = False) -> None:
        self.images, self.noise = images, noise

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image = self.images[index]
        return (image + torch.rand(1) if self.noise else image), index % 3


class Random:
    """Items that draw from torch, numpy and random, one array of a dict each."""

    def __len__(self) -> int:
        return 23

    def __getitem__(self, index: int) -> Any:
        values = {"torch": torch.rand(2) + index, "numpy": np.random.rand(), "python": random.random()}
        return values, index


class Given:
    """Items that are given, or raised."""

    def __init__(self, *items: Any) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        if isinstance(self.items[index], Exception):
            raise self.items[index]  # the line that is named
        return self.items[index]
