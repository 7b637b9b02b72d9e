"""What a study is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from spaces import Context, Space
from spaces.architectures import FAMILIES, TEACHER, Origins, families
from studies.names import StudyError, architectures_of
from trainables import methods
from trainables.data.telling import Tell
from trainables.optimizers import AdamW
from trainables.origins import Trained
from trainables.origins.base import Origin
from trainables.own_code import OwnCode
from trainables.recipe import Recipe
from trainables.tasks.base import Arrays, Task
from trainables.tasks.notes import DataNotes

OF_STUDENTS = ("architectures",)
"""Options about data that the study itself reads: they say nothing of the task."""


@dataclass(frozen=True)
class Study:
    """A task with the teacher, student and ranges to search on it.

    Attributes:
        name: what the user types; :mod:`studies.names` lists them all.
        task: makes the task, and says what was found about its data, given the data directory of the command
            line and those of its ``options`` that were given.
        teacher: how the teacher comes to be, before it is trained.
        students: how students come to be, by the value of ``start``, at the size that the first trials have.
        teacher_epochs: of the teacher's training.
        epochs: of each trial; the most, where ``compute`` says how many.
        trials: how many trials by default.
        space: draws recipes.
        teacher_threads: processors that train the teacher, or None for all of the machine's; a network on
            8x8 pixels is too small to be shared out.
        teacher_views: in how many augmentation views the teacher's outputs are remembered at most; None if no
            recipe of the space asks for them.
        teacher_learning_rate: of the teacher.
        start_from_teacher: whether students may also begin with the trained teacher's weights, and then have
            its architecture.
        options: of the command line, about the data, that mean something here.
        given: weights of the user's network by their digest; default none.
        exit_layers: names of the layers after which early exits of its students are; empty (default) where
            methods spread them.
        route: what the user's network was along its training, from the first checkpoint to the one before the
            last, which is the teacher: origins and their weights; default none.
        architectures: names of those that its students can be made of, of
            :data:`spaces.architectures.FAMILIES`; default none.
        code: of the user's file that defines it; None (default) for ours.
        arrays: the data, where trying them out has read them; None (default) where nobody has.
        streamed: why the training split is read in every epoch anew; empty (default) where it is kept.
        sampler: name of how its recipes are drawn by default, where another was measured to be better than
            the usual one; None (default) where none was.
        compute: of ``epochs``, the share that a student with trained weights may take of the whole network's
            compute, see :func:`spaces.compute.epochs_for`; None (default) gives all students all epochs.
    """

    name: str
    task: Callable[..., tuple[Task, DataNotes]]
    teacher: Origin
    students: Origins
    teacher_epochs: int
    epochs: int
    trials: int
    space: Space
    teacher_threads: int | None = None
    teacher_views: int | None = 16
    teacher_learning_rate: float = 2e-3
    start_from_teacher: bool = False
    options: tuple[str, ...] = ()
    given: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict, compare=False, repr=False)
    exit_layers: tuple[str, ...] = ()
    route: tuple[tuple[Origin, Mapping[str, Tensor]], ...] = field(default=(), compare=False, repr=False)
    code: OwnCode | None = None
    arrays: Arrays | None = field(default=None, compare=False, repr=False)
    streamed: str = ""
    architectures: tuple[str, ...] = ()
    sampler: str | None = None
    compute: float | None = None

    def make_task(self, directory: Path | None, given: Mapping[str, Any]) -> Task:
        """The task alone, as :meth:`examine` finds it.

        Raises:
            StudyError: as there.
            DataError: as there.
        """
        return self.examine(directory, given)[0]

    def examine(self, directory: Path | None, given: Mapping[str, Any]) -> tuple[Task, DataNotes]:
        """The task in ``directory``, with what was ``given`` of the options about data, and what was found.

        Raises:
            StudyError: one of them has no meaning here, a value is out of range, or a directory is missing.
            DataError: the directory cannot be used.
        """
        for name in given:
            if name not in (*self.options, *OF_STUDENTS):
                raise StudyError(f"--{name.replace('_', '-')} is not for the study {self.name}.")
        try:
            return self.task(directory, **{key: given[key] for key in given if key not in OF_STUDENTS})
        except ValueError as error:
            raise StudyError(f"The task cannot be made: {error}.") from error

    def read(
        self, task: Task, directory: Path | None, store: Path, tell: Tell, *, download: bool = False
    ) -> Arrays:
        """The data of ``task``, where trying them out has not read them already.

        Args:
            task: of :meth:`examine`.
            directory: of the data set.
            store: folder of the sweeps' files, where decoded data are kept.
            tell: hears of what takes long.
            download: whether a published data set may be fetched.

        Raises:
            DataError: the data is not usable.
        """
        if self.arrays is not None:
            return self.arrays
        return task.load_kept(directory, store, tell, download=download)

    def narrowed(self, methods: Sequence[str], fixed: Sequence[str], ranges: Sequence[str]) -> Study:
        """The study as a user wants it searched; see :meth:`spaces.Space.narrowed`.

        Raises:
            StudyError: one sentence that says what is wrong and what there is.
        """
        try:
            return replace(self, space=self.space.narrowed(self.students, methods, fixed, ranges))
        except ValueError as error:
            raise StudyError(f"The space cannot be searched so: {error}.") from error

    def of_architectures(self, text: str) -> Study:
        """The study with students of these architectures, which are searched together.

        Args:
            text: their names, such as ``resnet,mobilenet_v2``.

        Raises:
            StudyError: there is none of such a name for its data.
        """
        names = architectures_of(text, self.architectures, self.name)
        (_, origin), *_ = self.students
        ranges, sizes = dict(self.space.ranges), ("depth", "width")
        given = {size: ranges.pop(size) for size in sizes if size in ranges}
        for name in names:
            if type(FAMILIES[name]) is type(origin.model):
                ranges |= {f"{name}.{size}": search for size, search in given.items()}
        return replace(
            self,
            space=replace(self.space, ranges=ranges),
            students=families(names, origin.model),
            start_from_teacher=False,
        )

    def teacher_recipe(self, task: Task) -> Recipe:
        """How the teacher is made: full precision, from labels alone; without epochs as it is given."""
        return methods.full_precision(
            methods.Setting(task, self.teacher, epochs=self.teacher_epochs),
            optimizer=AdamW(self.teacher_learning_rate),
        )

    @property
    def views(self) -> int | None:
        """In how many views the teacher's outputs are remembered: no more than a training has epochs."""
        return None if self.teacher_views is None else min(self.teacher_views, self.epochs)

    @property
    def route_name(self) -> str | None:
        """What names the checkpoints along the teacher's training; None where there are none."""
        if self.teacher_epochs:
            return ""
        names = " ".join(str(origin.parent) for origin, _ in self.route)
        return hashlib.sha256(names.encode()).hexdigest()[:16] if names else None

    def context(self, task: Task, teacher_id: str, seed: int) -> Context:
        """What every trial of a sweep has in common."""
        trained: Origins = ((TEACHER, Trained(self.teacher.model, teacher_id)),)
        origins = (*self.students, *(trained if self.start_from_teacher else ()))
        found = Context(task, origins, teacher_id, self.epochs, seed, self.views, self.route_name)
        return replace(found, exit_layers=self.exit_layers)


def embedded(task: type[Task]) -> Callable[..., tuple[Task, DataNotes]]:
    return lambda directory: (task(), DataNotes())


PRUNED = {"method": "quantized_distillation", "prune": True, "sparsity": 0.5}
