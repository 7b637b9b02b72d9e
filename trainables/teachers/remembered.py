"""One trained network whose answers were computed beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Annotated

import torch
from torch import Tensor, nn

from trainables.calling import call
from trainables.lesson import Lesson, Step
from trainables.ranges import Range
from trainables.tasks.base import LoadedTask, Task
from trainables.teachers.base import Sources, Teacher, TeacherPolicy, check_recipe_id
from trainables.teachers.inside import RememberedFeatures


class _Lookup(TeacherPolicy):
    def __init__(
        self, kept: Mapping[str, Tensor], views: int, task: LoadedTask, features: RememberedFeatures
    ) -> None:
        super().__init__(inside=features)
        self._features = features
        self._views = views
        self._task = task
        for name, tensor in kept.items():
            # Buffers, so that they move to the device with the policy: once per trial, not at every step.
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, step: Step) -> Lesson:
        batch = step.batch
        if batch.view is None or not 0 <= batch.view < self._views:
            raise ValueError(
                f"the teacher's outputs are of the shared views 0 to {self._views - 1}, "
                f"got a batch of view={batch.view}"
            )
        self._features.hear(batch)
        rows = self._task.row_numbers(batch)
        kept = {name: tensor[batch.view].index_select(0, rows) for name, tensor in self.named_buffers()}
        return Lesson(self._task.memory.recall(kept))


@dataclass(frozen=True)
class Remembered(Teacher):
    """What the network of ``recipe_id`` answered to a fixed number of augmentation views.

    The published method asks the teacher at every step. Here it was asked once per (view, sample); training
    goes through the views in turn, one an epoch, in an order that differs from epoch to epoch, and looks the
    answers up. A distilled step then costs what an undistilled one costs, whatever the teacher's size. The
    views are shared by all runs on the task, whatever their seeds. What is kept of an answer, in half
    precision, is the task's business: of images all logits, of text the most probable tokens. Inner features
    that the recipe's losses look at are kept and looked up in the same way.

    Attributes:
        recipe_id: 16 hex digits, the identity of the teacher's own recipe.
        views: how many views there are, in [1, 1024]; default 16. With at least as many as epochs, no
            input comes twice. Of a task that has fewer, such as text, which has one, those are kept.
    """

    recipe_id: str
    views: Annotated[int, Range(1, 1024)] = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        check_recipe_id(self.recipe_id)

    def build(self, sources: Sources, task: LoadedTask, student: nn.Module) -> TeacherPolicy:
        """See the contract.

        Raises:
            ValueError: ``sources`` gives outputs of another number of views or rows.
        """
        views = different_views(self.views, task)
        kept = sources.outputs(self.recipe_id, views, task)
        expected = (views, task.rows("train"))
        for name, tensor in kept.items():
            if tensor.shape[:2] != expected:
                raise ValueError(
                    f"{name} of {expected} views and rows are needed, got {tuple(tensor.shape[:2])}"
                )
        recall = partial(sources.features, self.recipe_id, views, task)
        return _Lookup(kept, views, task, RememberedFeatures(recall, task))

    def view(self, epoch: int) -> int:
        """The views in turn."""
        return epoch % self.views

    def temperature(self, task: Task) -> float | None:
        """That of what ``task`` remembers."""
        return task.memory.temperature


def different_views(views: int, task: LoadedTask) -> int:
    """How many of the first ``views`` shared views of ``task`` differ."""
    return views if task.views is None else min(views, task.views)


@torch.no_grad()
def remember(network: nn.Module, task: LoadedTask, views: int) -> dict[str, Tensor]:
    """What ``network`` answers, in eval mode and float32, to the shared views of the training split.

    A function of its arguments alone, whatever the task's seed and batch size.

    Args:
        network: moved to the task's device and left in eval mode there.
        task: where the inputs come from.
        views: how many of the shared views, from the first on.

    Returns:
        What ``task.memory`` keeps, each tensor of shape (views, rows, ...), on the CPU.

    Raises:
        ValueError: an answer is not finite in float16.
    """
    network.to(task.device).eval()
    kept = []
    for view in range(views):
        parts: list[dict[str, Tensor]] = []
        numbers: list[Tensor] = []
        for batch in task.in_order("train", view):
            rows = batch.rows(call(network, batch.inputs))
            parts.append({name: tensor.cpu() for name, tensor in task.memory.keep(rows).items()})
            numbers.append(task.row_numbers(batch).cpu())
        order = torch.cat(numbers).argsort()
        kept.append({name: torch.cat([part[name] for part in parts])[order] for name in parts[0]})
    return {name: torch.stack([view[name] for view in kept]) for name in kept[0]}
