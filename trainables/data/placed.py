"""Rows of arrays on the device where they are needed, wherever the arrays lie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from trainables.arrays import shared_tensor
from trainables.data.kept import touched

SHARE_OF_DEVICE = 0.25
"""Of a GPU's free memory, that a trial's data may take; networks and other trials need the rest."""


class Placed:
    """Arrays as tensors, of which rows are asked for.

    On the CPU nothing is copied but the rows. On a GPU the arrays lie there if they fit comfortably, else
    rows are copied there as they are asked for.

    Args:
        arrays: may be read-only, and mapped files.
        names: of those that are used.
        device: where rows appear.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], names: Iterable[str], device: torch.device) -> None:
        self._arrays, self._device = arrays, device
        self._tensors = {name: shared_tensor(arrays[name]) for name in names}
        self._there = device.type == "cpu" or _fits(self._tensors, device)
        if self._there:
            self._tensors = {name: tensor.to(device) for name, tensor in self._tensors.items()}

    def rows(self, name: str, index: Tensor) -> Tensor:
        """Rows ``index`` (int64, on the CPU) of an array, as a new tensor."""
        tensor = self._tensors[name]
        rows = tensor[index.to(tensor.device)]
        return self._moved(rows, len(index))

    def part(self, name: str, start: int, stop: int) -> Tensor:
        """Rows ``start`` to ``stop`` of an array; on the CPU a view of it."""
        return self._moved(self._tensors[name][start:stop], 1)

    def _moved(self, rows: Tensor, pieces: int) -> Tensor:
        if self._device.type == "cpu":
            touched(self._arrays, rows.nbytes, pieces)
        elif not self._there:
            touched(self._arrays, rows.nbytes, pieces)
            return rows.pin_memory().to(self._device, non_blocking=True)
        return rows


def _fits(tensors: Mapping[str, Tensor], device: torch.device) -> bool:
    free, _ = torch.cuda.mem_get_info(device)
    return sum(tensor.nbytes for tensor in tensors.values()) <= SHARE_OF_DEVICE * free
