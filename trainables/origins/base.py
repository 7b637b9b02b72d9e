"""The origin contract: the network that a student is before its training begins."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Self

from torch import Tensor, nn

from trainables.batch import Batch
from trainables.models.base import Model
from trainables.part import Part, ranges
from trainables.tasks.base import LoadedTask, Task

if TYPE_CHECKING:  # a teacher may have an origin of its own, and imports this
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
        """Names the trained network whose weights the student begins with, 16 hex digits; None: new ones."""

    @property
    @abstractmethod
    def sizes(self) -> Part | None:
        """The part whose numbers decide the student's size, which a search may turn; None: nothing does."""

    @abstractmethod
    def resized(self, sizes: Part) -> Self:
        """The same origin with other :attr:`sizes`."""

    def scaled(self, share: float) -> Self:
        """The same origin with its width times ``share``, as far as its sizes accept it.

        The width has four significant digits. Where nothing decides the size, it is the same origin.
        """
        sizes = self.sizes
        accepted = None if sizes is None else ranges(type(sizes)).get("width")
        if sizes is None or accepted is None:
            return self
        width = min(max(float(f"{share * self.width:.4g}"), accepted.low), accepted.high)
        return self.resized(replace(sizes, **{"width": width}))

    @property
    def cuts(self) -> bool:
        """Whether the student is a part of the network that it begins with."""
        return False

    @property
    @abstractmethod
    def depth(self) -> float:
        """What people call the student's depth; what it counts is the architecture's business."""

    @property
    @abstractmethod
    def width(self) -> float:
        """What people call its width: of a new network a multiplier, of a slice the share that is kept."""

    @abstractmethod
    def outline(self, task: Task, data: LoadedTask) -> tuple[Model, nn.Module]:
        """A network of the student's shape, on the CPU, before anything has been trained.

        Its weights are of no use; its size, layers and costs are the student's.

        Args:
            task: as for :meth:`build`.
            data: likewise, on the CPU.

        Raises:
            ValueError: as for :meth:`build`.
        """

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

    def settled(
        self, student: Callable[[], nn.Module], task: Task, batches: Callable[[], Iterable[Batch]]
    ) -> dict[str, Tensor]:
        """What of a trained student is decided by the validation split, by the names of its tensors.

        It is stored as it is, in place of what training left there. Nothing by default.

        Args:
            student: makes it as its packed file will be rebuilt, on the CPU.
            task: as for :meth:`build`.
            batches: gives those of the validation split.
        """
        return {}


def fresh_network(model: Model, task: Task) -> nn.Module:
    """A new network of ``model``, after the task's interface has tried it out.

    Raises:
        ValueError: it cannot be built, or is not what the task asks for.
    """
    network = model.build(task.input_shape, task.outputs)
    task.interface.check(network, task.outputs)
    return network
