"""One trained network whose answers were computed beforehand."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainables.part import check_range
from trainables.tasks.base import Batch, LoadedTask
from trainables.teachers.base import Sources, Teacher, TeacherPolicy, check_recipe_id


class _Lookup(TeacherPolicy):
    outputs: Tensor

    def __init__(self, outputs: Tensor) -> None:
        super().__init__()
        # A buffer, so that it moves to the device with the policy: once per trial, not at every step.
        self.register_buffer("outputs", outputs, persistent=False)

    def forward(self, batch: Batch, progress: float) -> Tensor:
        if batch.view is None or not 0 <= batch.view < len(self.outputs):
            raise ValueError(
                f"the teacher's outputs are of the shared views 0 to {len(self.outputs) - 1}, "
                f"got a batch of view={batch.view}"
            )
        return self.outputs[batch.view].index_select(0, batch.index).float()


@dataclass(frozen=True)
class Remembered(Teacher):
    """What the network of ``recipe_id`` answered to a fixed number of augmentation views.

    The published method asks the teacher at every step. Here it was asked once per (view, sample); training
    goes through the views in turn, one an epoch, in an order that differs from epoch to epoch, and looks the
    answers up. A distilled step then costs what an undistilled one costs, whatever the teacher's size. The
    views are shared by all runs on the task, whatever their seeds. Answers are kept as float16, which moves
    a logit by at most 1 part in 2048.

    Attributes:
        recipe_id: 16 hex digits, the identity of the teacher's own recipe.
        views: how many views there are, in [1, 1024]; default 16. With at least as many as epochs, no
            input comes twice.
    """

    recipe_id: str
    views: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        check_recipe_id(self.recipe_id)
        check_range(self, "views", 1, 1024)

    def build(self, sources: Sources, task: LoadedTask) -> TeacherPolicy:
        """See the contract.

        Raises:
            ValueError: ``sources`` gives outputs of another number of views or samples.
        """
        outputs = sources.outputs(self.recipe_id, self.views, task)
        expected = (self.views, task.samples("train"))
        if outputs.shape[:2] != expected:
            raise ValueError(
                f"outputs of {expected} views and samples are needed, got {tuple(outputs.shape[:2])}"
            )
        return _Lookup(outputs)

    def view(self, epoch: int) -> int:
        """The views in turn."""
        return epoch % self.views


@torch.no_grad()
def remember(network: nn.Module, task: LoadedTask, views: int) -> Tensor:
    """What ``network`` answers, in eval mode and float32, to the shared views of the training split.

    A function of its arguments alone: every sample is asked in the order of its index, whatever the
    task's seed and batch size.

    Args:
        network: moved to the task's device and left in eval mode there.
        task: where the inputs come from.
        views: how many of the shared views, from the first on.

    Returns:
        float16, shape (views, samples, outputs), on the CPU.

    Raises:
        ValueError: an answer is not finite in float16.
    """
    network.to(task.device).eval()
    kept = []
    for view in range(views):
        answers = [network(batch.inputs).half().cpu() for batch in task.in_order("train", view)]
        kept.append(torch.cat(answers))
    outputs = torch.stack(kept)
    if not bool(torch.isfinite(outputs).all()):
        raise ValueError(
            f"the teacher's outputs must lie in float16's range to be remembered, got {outputs.abs().max()}"
        )
    return outputs
