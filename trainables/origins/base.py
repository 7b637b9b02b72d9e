"""The origin contract: the network that a student is before its training begins."""

from __future__ import annotations

from abc import abstractmethod

from torch import nn

from trainables.models.base import Model
from trainables.part import Part
from trainables.tasks.base import LoadedTask, Task
from trainables.teachers.base import Sources


class Origin(Part):
    """How a student comes to be.

    Attributes:
        model: the architecture that was asked for.
    """

    model: Model

    @property
    @abstractmethod
    def parent(self) -> str | None:
        """``recipe_id`` of the network whose trained weights the student begins with; None: fresh ones."""

    @abstractmethod
    def build(self, task: Task, data: LoadedTask, sources: Sources) -> tuple[Model, nn.Module]:
        """The student before its first step.

        New weights are drawn from PyTorch's global generator.

        Args:
            task: says what goes into the network and what comes out of it.
            data: the same task with its data; gives the inputs that an origin may measure on.
            sources: gives the trained networks that an origin begins with.

        Returns:
            The architecture as it was built, and the network on ``data.device``.

        Raises:
            ValueError: it cannot be built, or is not what the task asks for.
        """


def fresh_network(model: Model, task: Task) -> nn.Module:
    """A new network of ``model``, after the task's interface has tried it out.

    Raises:
        ValueError: it cannot be built, or is not what the task asks for.
    """
    network = model.build(task.input_shape, task.outputs)
    task.interface.check(network, task.outputs)
    return network
