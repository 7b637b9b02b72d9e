"""Several tasks with their data: batches of each in turn."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from trainables.batch import Batch
from trainables.calling import call, main_output
from trainables.data.order import item_key, permutation
from trainables.memory import Memory, SideBySide
from trainables.metrics.base import Quality
from trainables.tasks.base import LoadedTask, Measured

POWER = 0.75
"""Of the number of a task's samples, to which the number of its steps is in proportion (BAM)."""


class LoadedTasks:
    """Tasks that are learnt together; the samples of a split are those of all tasks, one task after another.

    Args:
        tasks: with their data, on one device.
        memory: of their answers.
        qualities: of the tasks.
        name: of the mean of these.
        seed: drives in which order the tasks are seen.

    Attributes:
        tasks: see above.
    """

    def __init__(
        self,
        tasks: Sequence[LoadedTask],
        memory: SideBySide,
        qualities: Sequence[Quality],
        name: str,
        seed: int,
    ) -> None:
        self.tasks = tuple(tasks)
        self.device = self.tasks[0].device
        self.memory: Memory = memory
        self._widths = memory.widths
        self._qualities, self._name, self._seed = tuple(qualities), name, seed
        views = [task.views for task in self.tasks if task.views is not None]
        self.views: int | None = max(views) if len(views) == len(self.tasks) else None
        self._steps = shared_out([task.samples("train") for task in self.tasks], self.steps("train"))

    def batches(self, split: str, epoch: int, view: int | None = None) -> Iterator[Batch]:
        """One pass; "train" is batches of the tasks in an order of (seed, epoch), each task's by its shares.

        Each task's own batches follow one another from epoch to epoch, so that no sample of it is left out.
        """
        if split != "train":
            yield from self.in_order(split)
            return
        turns = [number for number, steps in enumerate(self._steps) for _ in range(steps)]
        own = [self._of_task(number, epoch, view) for number in range(len(self.tasks))]
        for place in permutation(len(turns), item_key(self._seed, epoch)).tolist():
            yield next(own[turns[place]])

    def in_order(self, split: str, view: int | None = None) -> Iterator[Batch]:
        """Every sample of ``split``, task by task; see :class:`trainables.tasks.base.LoadedTask`."""
        for number, task in enumerate(self.tasks):
            for batch in task.in_order(split, view):
                yield self._placed(number, batch, split)

    def chosen(self, split: str, index: Tensor) -> Iterator[Batch]:
        """See :class:`trainables.tasks.base.LoadedTask`."""
        for number, task in enumerate(self.tasks):
            own = index - self._before(number, split)
            own = own[(own >= 0) & (own < task.samples(split))]
            for batch in task.chosen(split, own) if len(own) else ():
                yield self._placed(number, batch, split)

    def fingerprint(self) -> str:
        """Those of the tasks together."""
        text = " ".join(task.fingerprint() for task in self.tasks)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def steps(self, split: str) -> int:
        """As many as those of the tasks together."""
        return sum(task.steps(split) for task in self.tasks)

    def samples(self, split: str) -> int:
        """Those of the tasks together."""
        return sum(task.samples(split) for task in self.tasks)

    def rows(self, split: str) -> int:
        """Those of the tasks together."""
        return sum(task.rows(split) for task in self.tasks)

    def row_numbers(self, batch: Batch) -> Tensor:
        """Those of the batch's task, after those of the tasks before."""
        before = sum(task.rows("train") for task in self.tasks[: batch.task])
        own = batch._replace(index=batch.index - self._before(batch.task, "train"))
        return self.tasks[batch.task].row_numbers(own) + before

    def labels(self, split: str) -> None:
        """None: the classes of one task are none of another's."""
        return None

    def loss(self, output: Any, batch: Batch) -> Tensor:
        """That of the batch's task, of its own numbers of the network's answer."""
        return self.tasks[batch.task].loss(self._head(main_output(output), batch.task), batch)

    def assets(self) -> dict[str, Tensor]:
        """Those of the tasks, with a task's number before the name."""
        return {
            f"{number}:{name}": asset
            for number, task in enumerate(self.tasks)
            for name, asset in task.assets().items()
        }

    def qualities(self, model: nn.Module, split: str) -> tuple[float, ...]:
        """The quality of each task on ``split``."""
        found = []
        for number, (task, quality) in enumerate(zip(self.tasks, self._qualities, strict=True)):
            found.append(task.evaluate(_Head(model, self._widths, number), split)[quality.name])
        return tuple(found)

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        """The mean of the tasks' qualities; if less of one is better, its minus counts."""
        found = self.qualities(model, split)
        gains = [quality.gain(value) for quality, value in zip(self._qualities, found, strict=True)]
        return {self._name: sum(gains) / len(gains)}

    def measure(self, model: nn.Module, split: str) -> Measured:
        """See :class:`trainables.tasks.base.LoadedTask`; samples of several tasks have no one quality."""
        return Measured(self.evaluate(model, split), None)

    def _of_task(self, number: int, epoch: int, view: int | None) -> Iterator[Batch]:
        """Batches of one task from where the epochs before have left it, without end."""
        task = self.tasks[number]
        start, skipped = divmod(epoch * self._steps[number], task.steps("train"))
        for turn in itertools.count(start):
            found = task.batches("train", turn, view)
            for batch in itertools.islice(found, skipped if turn == start else 0, None):
                yield self._placed(number, batch, "train")

    def _placed(self, number: int, batch: Batch, split: str) -> Batch:
        return batch._replace(index=batch.index + self._before(number, split), task=number)

    def _before(self, number: int, split: str) -> int:
        """Samples of the tasks before."""
        return sum(task.samples(split) for task in self.tasks[:number])

    def _head(self, answer: Tensor, number: int) -> Tensor:
        return answer.split(self._widths, -1)[number]


class _Head(nn.Module):
    """A network that answers to one of its tasks."""

    def __init__(self, network: nn.Module, widths: tuple[int, ...], number: int) -> None:
        super().__init__()
        self.network = network
        self._widths, self._number = widths, number

    def forward(self, *inputs: Any) -> Tensor:
        found: Tensor = call(self.network, inputs).split(self._widths, -1)[self._number]
        return found


def shared_out(samples: Sequence[int], steps: int) -> tuple[int, ...]:
    """How many of so many steps of an epoch each task has: in proportion to its samples to the power 0.75.

    Args:
        samples: of the tasks.
        steps: at least one for each task.
    """
    weights = [count**POWER for count in samples]
    exact = [1 + (steps - len(samples)) * weight / sum(weights) for weight in weights]
    found = [int(share) for share in exact]
    rests = sorted(range(len(exact)), key=lambda n: found[n] - exact[n])
    for number in rests[: steps - sum(found)]:
        found[number] += 1
    return tuple(found)
