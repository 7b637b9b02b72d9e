"""The studies that ``rayduce sweep`` knows by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from search.problem import Problem
from spaces import Context, Space
from trainables import methods
from trainables.models import LSTM, ConvNet, Custom, ResNet, Transformer
from trainables.models.base import Model
from trainables.models.custom import allow
from trainables.optimizers import AdamW
from trainables.origins import Fresh
from trainables.recipe import Recipe
from trainables.tasks import (
    CIFAR10,
    CIFAR100,
    Digits,
    FashionMNIST,
    ImageFolder,
    Multi30k,
    Phrases,
    TextPairs,
)
from trainables.tasks.base import Task
from trainables.tasks.notes import DataNotes
from trainables.tasks.text import TextTask


@dataclass(frozen=True)
class Study:
    """A task with the teacher, student and ranges to search on it.

    Attributes:
        name: what the user types.
        summary: one line for ``--help``.
        task: makes the task, and says what was found about its data, given the data directory of the command
            line and those of its ``options`` that were given.
        needs_data: whether a data directory must be given.
        teacher: the teacher's architecture.
        student: the student's architecture, at the depth and width that the first trials have.
        teacher_epochs: of the teacher's training.
        epochs: of each trial.
        trials: how many trials by default.
        space: draws recipes.
        teacher_threads: processors that train the teacher, or None for all of the machine's; a network on
            8x8 pixels is too small to be shared out.
        teacher_views: in how many augmentation views the teacher's outputs are remembered; None if no recipe
            of the space asks for them.
        teacher_learning_rate: of the teacher.
        start_from_teacher: whether students may also begin with the teacher's weights, and then have its
            architecture.
        options: of the command line, about the data, that mean something here.
    """

    name: str
    summary: str
    task: Callable[..., tuple[Task, DataNotes]]
    needs_data: bool
    teacher: Model
    student: Model
    teacher_epochs: int
    epochs: int
    trials: int
    space: Space
    teacher_threads: int | None = None
    teacher_views: int | None = 16
    teacher_learning_rate: float = 2e-3
    start_from_teacher: bool = False
    options: tuple[str, ...] = ()

    def make_task(self, directory: Path | None, given: Mapping[str, Any]) -> Task:
        """The task alone, as :meth:`examine` finds it.

        Raises:
            Problem: as there.
            DataError: as there.
        """
        return self.examine(directory, given)[0]

    def examine(self, directory: Path | None, given: Mapping[str, Any]) -> tuple[Task, DataNotes]:
        """The task in ``directory``, with what was ``given`` of the options about data, and what was found.

        Raises:
            Problem: one of them has no meaning here, a value is out of range, or a directory is missing.
            DataError: the directory cannot be used.
        """
        for name in given:
            if name not in self.options:
                raise Problem(f"--{name.replace('_', '-')} is not for the study {self.name}.")
        try:
            return self.task(directory, **given)
        except ValueError as error:
            raise Problem(f"The task cannot be made: {error}.") from error

    def narrowed(self, methods: Sequence[str], fixed: Sequence[str], ranges: Sequence[str]) -> Study:
        """The study as a user wants it searched; see :meth:`spaces.Space.narrowed`.

        Raises:
            Problem: one sentence that says what is wrong and what there is.
        """
        try:
            return replace(self, space=self.space.narrowed(self.student, methods, fixed, ranges))
        except ValueError as error:
            raise Problem(f"The space cannot be searched so: {error}.") from error

    def teacher_recipe(self, task: Task) -> Recipe:
        """How the teacher is made: full precision, from labels alone."""
        return methods.full_precision(
            methods.Setting(task, Fresh(self.teacher), epochs=self.teacher_epochs),
            optimizer=AdamW(self.teacher_learning_rate),
        )

    def context(self, task: Task, teacher_id: str, seed: int) -> Context:
        """What every trial of a sweep has in common."""
        return Context(
            task,
            self.student,
            teacher_id,
            self.epochs,
            seed=seed,
            teacher_views=self.teacher_views,
            teacher=self.teacher if self.start_from_teacher else None,
        )


def _embedded(task: type[Task]) -> Callable[..., tuple[Task, DataNotes]]:
    return lambda directory: (task(), DataNotes())


def _text(task: type[TextTask]) -> Callable[..., tuple[Task, DataNotes]]:
    def make(directory: Path | None, **settings: Any) -> tuple[Task, DataNotes]:
        return task(**_renamed(settings)), DataNotes()

    return make


def _folder(directory: Path | None, image_size: int | None = None) -> tuple[Task, DataNotes]:
    if directory is None:
        raise Problem(
            "The study image_folder needs --data DIR, a directory with one folder of images per class."
        )
    return ImageFolder.examine(directory, None if image_size is None else (image_size, image_size))


def _text_folder(directory: Path | None, **settings: Any) -> tuple[Task, DataNotes]:
    if directory is None:
        raise Problem(
            "The study text_pairs needs --data DIR, a directory with two files per split, such as train.de "
            "and train.en, of a sentence per line."
        )
    if ("source" in settings) != ("target" in settings):
        raise Problem("Give --source and --target together, the two languages as the files' names have them.")
    return TextPairs.examine(directory, **_renamed(settings))


def _renamed(settings: dict[str, Any]) -> dict[str, Any]:
    """The command line's names as the tasks have them."""
    return {{"vocabulary": "vocabulary_size"}.get(name, name): value for name, value in settings.items()}


PRUNED = {"method": "quantized_distillation", "prune": True, "sparsity": 0.5}
COARSE = {"method": "learned_step_quantization", "start": "teacher", "symmetric_bits": 3}

IMAGES = Space(starts={"bits": 4, "learning_rate": 5e-3}, also=(PRUNED,))
"""All methods; quantized distillation starts a second time with half of the weights pruned."""

TRANSLATION = Space(
    ranges={"learning_rate": (1e-3, 2e-2)},
    fixed={"temperature": 1.0},  # at which the teacher's most probable tokens are remembered
    starts={"bits": 4, "learning_rate": 3e-3},
    also=(PRUNED, COARSE),
)
"""All methods; learned steps start a second time with 3 bits, from the teacher."""


def sized(space: Space, depths: tuple[int, int], widths: tuple[float, float]) -> Space:
    """The space of students of these depths and widths."""
    return replace(space, ranges={**space.ranges, "depth": depths, "width": widths})


DIGITS_FAMILY: dict[str, Any] = {"stages": ((64, 64), (128, 128)), "hidden": (128,), "kernel_size": 3}
"""1.3 MB in full precision at depth 2 and width 1; dropout helps the teacher and hurts small students."""

STUDIES: tuple[Study, ...] = (
    Study(
        name="digits",
        summary="1,797 handwritten digits of 8x8 pixels, embedded: no download",
        task=_embedded(Digits),
        needs_data=False,
        teacher=ConvNet(**DIGITS_FAMILY, dropout=(0.1, 0.2, 0.3)),
        student=ConvNet(depth=2, width=0.35, **DIGITS_FAMILY),
        teacher_epochs=40,
        epochs=35,
        trials=100,
        space=sized(IMAGES, (1, 3), (0.1, 0.5)),
        teacher_threads=1,
        teacher_views=35,  # one for each epoch: the data is small, and so are they
    ),
    Study(
        name="fashion_mnist",
        summary="70,000 pictures of clothes, 28x28 grey (--data DIR)",
        task=_embedded(FashionMNIST),
        needs_data=True,
        teacher=ResNet(depth=3, width=2.0),
        student=ResNet(depth=1, width=1.0),
        teacher_epochs=15,
        epochs=10,
        trials=50,
        space=sized(IMAGES, (1, 2), (0.25, 1.0)),
    ),
    Study(
        name="cifar10",
        summary="60,000 colour pictures of 10 classes, 32x32 (--data DIR)",
        task=_embedded(CIFAR10),
        needs_data=True,
        teacher=ResNet(depth=3, width=4.0),
        student=ResNet(depth=1, width=1.0),
        teacher_epochs=100,
        epochs=60,
        trials=100,
        space=sized(IMAGES, (1, 3), (0.5, 2.0)),
    ),
    Study(
        name="cifar100",
        summary="60,000 colour pictures of 100 classes, 32x32 (--data DIR)",
        task=_embedded(CIFAR100),
        needs_data=True,
        teacher=ResNet(depth=3, width=8.0),
        student=ResNet(depth=1, width=1.0),
        teacher_epochs=150,
        epochs=100,
        trials=100,
        space=sized(IMAGES, (1, 3), (0.5, 4.0)),
    ),
    Study(
        name="phrases",
        summary="20,000 German-English sentences of a grammar over CLDR data, embedded: no download",
        task=_text(Phrases),
        options=("vocabulary",),
        needs_data=False,
        # The sentences are as many as the grammar makes, and few epochs fit them: nothing is to be dropped.
        teacher=Transformer(depth=2, units=64, dropout=0.0),
        student=Transformer(depth=1, width=0.7, units=64, dropout=0.0),
        teacher_epochs=4,
        epochs=2,
        trials=16,
        # The teacher has to translate the training split, which takes longer than the trials.
        space=sized(replace(TRANSLATION, without=("sequence_level_distillation",)), (1, 2), (0.25, 1.0)),
        teacher_threads=1,
        teacher_views=1,
        teacher_learning_rate=3e-3,
        start_from_teacher=True,
    ),
    Study(
        name="multi30k",
        summary="29,000 German-English descriptions of photographs (--data DIR)",
        task=_text(Multi30k),
        options=("vocabulary", "test"),
        needs_data=True,
        teacher=LSTM(depth=2, dropout=0.3),
        student=LSTM(depth=1, width=0.5, dropout=0.1),
        teacher_epochs=14,
        epochs=10,
        trials=50,
        space=sized(TRANSLATION, (1, 2), (0.25, 1.0)),
        teacher_views=1,
        teacher_learning_rate=3e-3,
        start_from_teacher=True,
    ),
    Study(
        name="text_pairs",
        summary="your own sentences and their translations, two files per split (--data DIR)",
        task=_text_folder,
        options=("source", "target", "test", "vocabulary"),
        needs_data=True,
        teacher=Transformer(depth=2, dropout=0.2),
        student=Transformer(depth=2, width=0.5),
        teacher_epochs=20,
        epochs=12,
        trials=50,
        space=sized(TRANSLATION, (1, 3), (0.25, 1.0)),
        teacher_views=1,
        teacher_learning_rate=3e-3,
        start_from_teacher=True,
    ),
    Study(
        name="image_folder",
        summary="your own images, one folder per class (--data DIR)",
        task=_folder,
        options=("image_size",),
        needs_data=True,
        teacher=ResNet(depth=3, width=2.0),
        student=ResNet(depth=1, width=1.0),
        teacher_epochs=30,
        epochs=20,
        trials=50,
        space=sized(IMAGES, (1, 2), (0.25, 1.0)),
    ),
)


def find_study(name: str, *, own_model: str | None = None) -> Study:
    """The study called ``name``; with ``own_model`` (``module:Class``) as its student.

    Raises:
        Problem: no such study.
    """
    for study in STUDIES:
        if study.name == name:
            if own_model is None:
                return study
            allow(own_model)
            return replace(
                study,
                # How an own model's channels begin is unknown; the study's narrowest may leave it nothing.
                space=replace(study.space, ranges={**study.space.ranges, "width": (0.25, 1.0)}),
                student=Custom(target=own_model, depth=1, width=1.0),
                # Who starts from the teacher has its architecture, and is none of the user's.
                start_from_teacher=False,
            )
    raise Problem(f"There is no study {name!r}; choose one of {', '.join(s.name for s in STUDIES)}.")
