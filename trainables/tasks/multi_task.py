"""Several tasks that one student learns together, each with outputs of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainables.interfaces import Classifier
from trainables.interfaces.tensors import Tensors
from trainables.memory import SideBySide
from trainables.metrics import MEAN_QUALITY, own_quality, quality_of, spelled
from trainables.metrics.base import Quality
from trainables.signature import Signature
from trainables.tasks.base import Arrays, Task
from trainables.tasks.loaded_tasks import LoadedTasks


@dataclass(frozen=True)
class MultiTask(Task):
    """Several tasks of one student, whose outputs are those of the tasks side by side.

    The tasks share all layers but the last, of which each has its own rows. A batch is of one task. An epoch
    has as many steps as those of the tasks together, of which each task has a share in proportion to its
    training samples to the power of 0.75 (BAM, Clark et al. 2019, where each step draws its task by that), so
    that small ones are seen more often. What an epoch leaves of a task comes in the next one.

    Students are compared by the mean of the tasks' qualities; if less of one is better, its minus counts.

    Attributes:
        tasks: at least two, that take one float32 tensor of the same shape and answer one row of numbers to
            it, such as tasks of images of one size; the outputs have their order.
    """

    tasks: tuple[Task, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.tasks) < 2:
            raise ValueError(f"tasks must be at least 2, got {len(self.tasks)}")
        for task in self.tasks:
            if task.input_shape != self.input_shape:
                raise ValueError(
                    f"tasks must take inputs of one shape, got {self.input_shape} of "
                    f"{type(self.tasks[0]).__name__} and {task.input_shape} of {type(task).__name__}"
                )
            if task.interface not in _one_row(task):
                raise ValueError(
                    f"tasks must take one float32 tensor and answer one row of numbers to it, got {task}"
                )

    @property
    def qualities(self) -> tuple[Quality, ...]:
        """Of each task."""
        return tuple(quality_of(task.metric) for task in self.tasks)

    @property
    def metric(self) -> str:
        """The mean of the tasks' qualities, of all of which more is better."""
        first, *others = self.qualities
        if first.up and all(each == first for each in others):
            label, unit, scale, ends = first.label, first.unit, first.scale, (first.lowest, first.highest)
            low, high = (end if abs(end) < float("inf") else None for end in ends)
            return spelled(
                own_quality(
                    MEAN_QUALITY,
                    label=f"mean {label}"[:40].strip(),
                    unit=unit,
                    scale=scale,
                    lowest=low,
                    highest=high,
                )
            )
        return spelled(own_quality(MEAN_QUALITY))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """That of all tasks."""
        return self.tasks[0].input_shape

    @property
    def widths(self) -> tuple[int, ...]:
        """Outputs of each task."""
        return tuple(task.outputs for task in self.tasks)

    @property
    def outputs(self) -> int:
        """Those of all tasks together."""
        return sum(self.widths)

    @property
    def memory(self) -> SideBySide:
        """Of each task what it keeps."""
        return SideBySide(tuple(task.memory for task in self.tasks), self.widths)

    @property
    def interface(self) -> Tensors:
        """One input in, the numbers of all tasks out."""
        return Tensors((Signature("", self.input_shape),), (self.outputs,), classes=False)

    @property
    def preprocessing(self) -> dict[str, Any]:
        """That of each task, and how many outputs it has."""
        return {"tasks": [{"outputs": task.outputs, **task.preprocessing} for task in self.tasks]}

    def companions(self, assets: Mapping[str, Tensor]) -> dict[str, bytes]:
        """None."""
        return {}

    def signatures(self) -> dict[str, str]:
        """How those qualities are computed that need a word on it."""
        found = [text for task in self.tasks for text in task.signatures().values()]
        return {quality_of(self.metric).name: " ".join(found)} if found else {}

    def load(self, directory: Path | None, *, download: bool = False) -> Arrays:
        """The data of all tasks.

        Args:
            directory: has the folders ``1``, ``2`` and so on of tasks that need one; None if none does.
            download: whether a published data set may be fetched.

        Raises:
            DataError: as the tasks raise it.
        """
        arrays: dict[str, np.ndarray] = {}
        for number, task in enumerate(self.tasks):
            own = None if directory is None else directory / str(number + 1)
            found = task.load(own if own is not None and own.is_dir() else None, download=download)
            arrays |= {f"{number}:{name}": array for name, array in found.items()}
        return arrays

    def open(self, arrays: Arrays, device: torch.device, seed: int) -> LoadedTasks:
        """See :class:`LoadedTasks`."""
        opened = []
        for number, task in enumerate(self.tasks):
            start = f"{number}:"
            own = {name.removeprefix(start): arrays[name] for name in arrays if name.startswith(start)}
            opened.append(task.open(own, device, seed))
        return LoadedTasks(opened, self.memory, self.qualities, quality_of(self.metric).name, seed)


def _one_row(task: Task) -> tuple[Classifier | Tensors, ...]:
    """What the interface of a task may be of which a row of numbers is asked for one tensor."""
    inputs = (Signature("", task.input_shape),)
    rows = (Tensors(inputs, (task.outputs,), classes) for classes in (True, False))
    return (Classifier(task.input_shape), *rows)
