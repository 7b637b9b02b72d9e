"""Another task's images with its classes put into groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainables.interfaces import Classifier
from trainables.memory import Whole
from trainables.samples import Samples
from trainables.tasks.base import SPLITS, Arrays, LoadedTask, Task
from trainables.tasks.images import ImageTask


@dataclass(frozen=True)
class Grouped(Task):
    """A task of images whose classes are put into groups, which are the classes here.

    Whether a digit is odd is ``Grouped(Digits(), (0, 1) * 5)``.

    Attributes:
        of: the other task.
        groups: the number of the group of each of its classes; from 0, none left out, at least two.
    """

    of: ImageTask
    groups: tuple[int, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        wrong = len(self.groups) != self.of.outputs or {*self.groups} != {*range(self.outputs)}
        if wrong or self.outputs < 2:
            raise ValueError(
                f"groups must give each of {self.of.outputs} classes the number of its group, from 0, none "
                f"left out and at least two, got groups={self.groups}"
            )

    @property
    def metric(self) -> str:
        """The other task's."""
        return self.of.metric

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The other task's."""
        return self.of.input_shape

    @property
    def outputs(self) -> int:
        """How many groups there are."""
        return max(self.groups, default=-1) + 1

    @property
    def memory(self) -> Whole:
        """The other task's."""
        return self.of.memory

    @property
    def interface(self) -> Classifier:
        """The other task's."""
        return self.of.interface

    @property
    def preprocessing(self) -> dict[str, Any]:
        """The other task's."""
        return self.of.preprocessing

    def shown_samples(self, arrays: Arrays, split: str, index: np.ndarray) -> Samples | None:
        """The other task's; groups have no names."""
        found = self.of.shown_samples(arrays, split, index)
        return None if found is None else replace(found, classes=())

    def companions(self, assets: Mapping[str, Tensor]) -> dict[str, bytes]:
        """The other task's."""
        return self.of.companions(assets)

    def signatures(self) -> dict[str, str]:
        """The other task's."""
        return self.of.signatures()

    def load(self, directory: Path | None, *, download: bool = False) -> Arrays:
        """The other task's data."""
        return self.of.load(directory, download=download)

    def open(self, arrays: Arrays, device: torch.device, seed: int) -> LoadedTask:
        """The other task's images, labelled with their groups."""
        groups = np.asarray(self.groups, dtype=np.int64)
        labels = {f"{split}_labels": groups[arrays[f"{split}_labels"]] for split in SPLITS}
        return self.of.open({**arrays, **labels}, device, seed)
