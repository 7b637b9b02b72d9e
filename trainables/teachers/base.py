"""The teacher contract: who is imitated at this step."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, Protocol

from torch import Tensor, nn

from trainables.lesson import Lesson, Step
from trainables.part import Part
from trainables.probe import Inner
from trainables.tasks.base import LoadedTask, Task


class Sources(Protocol):
    """Where a policy finds trained networks, and what they answered."""

    def network(self, recipe_id: str) -> nn.Module:
        """The trained network of that recipe.

        Raises:
            ValueError: there is none.
        """
        ...

    def given(self, weights: str) -> Mapping[str, Tensor]:
        """The weights and buffers of a user's network, as it was given; never written to.

        Args:
            weights: their digest.

        Raises:
            ValueError: there are none.
        """
        ...

    def route(self, recipe_id: str) -> Mapping[int, nn.Module]:
        """What the network of that recipe was along its training: epochs finished -> the network then.

        In ascending order, and the last is the trained network itself. Each is in eval mode and is made when
        it is looked up, so only those that are asked for take memory; never written to.

        Raises:
            ValueError: there is none, as of a network that was given trained.
        """
        ...

    def outputs(self, recipe_id: str, views: int, task: LoadedTask) -> Mapping[str, Tensor]:
        """What that network answers to the first ``views`` shared views of ``task``'s training split.

        Returns:
            What ``task.memory`` keeps of it, each tensor of shape (views, rows, ...), on the CPU; perhaps
            read-only and shared with other processes, so never written to.

        Raises:
            ValueError: there are none, or they were computed from other inputs than ``task``'s.
        """
        ...

    def features(self, recipe_id: str, views: int, task: LoadedTask, place: str) -> tuple[Tensor, ...]:
        """That network's inner features in the first ``views`` shared views of ``task``'s training split.

        Args:
            recipe_id: of the network.
            views: how many.
            task: whose inputs they are of.
            place: where in the network, see :mod:`trainables.layers`.

        Returns:
            Per name that the place stands for float16 of shape (views, rows, ...), on the CPU; read-only.

        Raises:
            ValueError: there are none, or they were computed from other inputs than ``task``'s.
        """
        ...


class TeacherPolicy(nn.Module):
    """What a :class:`Teacher` builds: who says what at each step. What it says may change with progress.

    Args:
        network: that is asked, whose features losses may look at; None where none is.
        own: networks that learn, and memories that fill, while the student trains.
        begin: is told the number of each phase of the training, from 0, as it begins, when the student is as
            the phase finds it. Where training goes on from a checkpoint, the phases before are told once
            more, and then what is in ``own`` is loaded.
        inside: features that losses may look at where no network is asked; None where there are none.

    Attributes:
        network: see above.
        begin: see above.
        inside: see above.
        own: see above; parameters are trained with the student's weights, and everything is in checkpoints.
    """

    def __init__(
        self,
        network: nn.Module | None = None,
        own: dict[str, nn.Module] | None = None,
        begin: Callable[[int], None] = lambda phase: None,
        inside: Inner | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.begin = begin
        self.inside = inside
        self.own = nn.ModuleDict(own)

    @abstractmethod
    def forward(self, step: Step) -> Lesson:
        """What the student is taught at this step."""


class Teacher(Part):
    """A policy, not a network: which trained networks are asked, and when.

    Attributes:
        needs_route: whether it asks its sources for networks along the teacher's training.
    """

    needs_route: ClassVar[bool] = False

    @abstractmethod
    def build(self, sources: Sources, task: LoadedTask, student: nn.Module) -> TeacherPolicy:
        """The policy for training ``student`` on ``task``.

        Args:
            sources: where it finds trained networks and their outputs.
            task: the data.
            student: the network that will be trained, its weights compressed while in use.
        """

    @abstractmethod
    def view(self, epoch: int) -> int | None:
        """In which shared augmentation view the training split is seen in ``epoch``.

        None is a fresh view of the run's own; see :meth:`trainables.tasks.base.LoadedTask.batches`.
        """

    @abstractmethod
    def temperature(self, task: Task) -> float | None:
        """The only temperature at which it answers on ``task``; None is any."""


def check_recipe_id(recipe_id: str) -> None:
    """Raise ``ValueError`` unless ``recipe_id`` is the 16 hex digits that name a recipe."""
    if len(recipe_id) != 16 or not set(recipe_id) <= set("0123456789abcdef"):
        raise ValueError(f"recipe_id must be 16 hex digits, got recipe_id={recipe_id!r}")
