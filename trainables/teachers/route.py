"""One trained network as it was along its own training: easy targets first, hard ones later."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from trainables.calling import call
from trainables.lesson import Lesson, Step
from trainables.part import check_choice
from trainables.ranges import Range
from trainables.tasks.base import LoadedTask, Task
from trainables.teachers.anchors import equal_anchors, farthest, hardness
from trainables.teachers.base import Sources, Teacher, TeacherPolicy, check_recipe_id

EQUAL, GREEDY = "equal", "greedy"


class _Anchors(nn.Module):
    """Which checkpoints were chosen, one a phase; -1 where none is chosen yet."""

    chosen: Tensor

    def __init__(self, count: int) -> None:
        super().__init__()
        self.register_buffer("chosen", torch.full((count,), -1))


class _Along(TeacherPolicy):
    network: nn.Module

    def __init__(
        self, part: Route, route: Mapping[int, nn.Module], task: LoadedTask, student: nn.Module
    ) -> None:
        last = copy.deepcopy(route[max(route)]).requires_grad_(False).eval()
        anchors = _Anchors(part.anchors)
        super().__init__(last, {"anchors": anchors}, self._enter)
        self._part, self._route, self._task, self._student = part, route, task, [student]
        self._epochs, self._shown, self._phase = sorted(route), len(route) - 1, 0
        anchors.register_load_state_dict_post_hook(lambda module, keys: self._show())

    def train(self, mode: bool = True) -> _Along:
        return super().train(False)  # a teacher in train mode would move its own statistics

    @torch.no_grad()
    def forward(self, step: Step) -> Lesson:
        return Lesson(self._task.memory.heard(step.batch.rows(call(self.network, step.batch.inputs))))

    def _enter(self, phase: int) -> None:
        """Choose the anchor of a phase; those after the last anchor's imitate the trained network, too."""
        self._phase = min(phase, self._part.anchors - 1)
        chosen = self.own["anchors"].get_buffer("chosen")
        if self._phase == self._part.anchors - 1:
            chosen[self._phase] = len(self._epochs) - 1
        elif self._part.strategy == EQUAL:
            anchors = equal_anchors(len(self._epochs), self._part.anchors)
            chosen[self._phase] = anchors[min(self._phase, len(anchors) - 1)]
        else:
            before = int(chosen[self._phase - 1]) if self._phase else None
            student = self._student[0]
            found = [hardness(student, self._route[epoch], self._task) for epoch in self._epochs]
            chosen[self._phase] = farthest(found, before, self._part.threshold)
        self._show()

    def _show(self) -> None:
        """Let the network be the checkpoint that was chosen for this phase."""
        wanted = int(self.own["anchors"].get_buffer("chosen")[self._phase])
        if wanted != self._shown:
            self.network.load_state_dict(self._route[self._epochs[wanted]].state_dict())
            self._shown = wanted


@dataclass(frozen=True)
class Route(Teacher):
    """A trained network as it was along its own training, one checkpoint a phase (Jin et al. 2019).

    The checkpoints that are imitated, asked at every step, are the anchors; the last is the trained network,
    which further phases imitate, too. It comes earlier where there are fewer checkpoints than anchors. Their
    distances are equal; or greedy search asks, as a phase begins, how far the student is from each on
    validation data (:func:`trainables.teachers.anchors.hardness`), and takes the last that is at most
    ``threshold`` times as far as the anchor before (at the start: the first), at least the next: our choice,
    since the paper's exact criterion could not be verified.

    Attributes:
        recipe_id: 16 hex digits, the identity of the teacher's own recipe.
        anchors: how many, in [1, 64]; default 4. 1 is the trained network alone.
        strategy: ``equal`` (default) or ``greedy``.
        threshold: of greedy search, in [0, 1e9]; default 1.2. The greatest takes the trained network at once.
        checkpoints: a digest of those that a user gave; empty (default) for those of its own training.
    """

    recipe_id: str
    anchors: Annotated[int, Range(1, 64, (1, 8), name="anchors")] = 4
    strategy: str = EQUAL
    threshold: Annotated[float, Range(0.0, 1e9, (1.0, 2.0), log=True, name="threshold")] = 1.2
    checkpoints: str = ""

    needs_route: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_recipe_id(self.recipe_id)
        check_choice(self, "strategy", (EQUAL, GREEDY))

    def build(self, sources: Sources, task: LoadedTask, student: nn.Module) -> TeacherPolicy:
        """See the contract."""
        return _Along(self, sources.route(self.recipe_id), task, student)

    def view(self, epoch: int) -> None:
        """A fresh view in every epoch."""
        return None

    def temperature(self, task: Task) -> None:
        """Any."""
        return None
