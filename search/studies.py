"""The studies that ``rayduce sweep`` knows by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from search.problem import Problem
from spaces import Context, Space, images
from spaces.images import smallest, starting_points
from trainables import methods
from trainables.models import ConvNet, Custom, ResNet
from trainables.models.base import Model
from trainables.models.custom import allow
from trainables.recipe import Recipe
from trainables.tasks import CIFAR10, CIFAR100, Digits, FashionMNIST, ImageFolder
from trainables.tasks.base import Task, TaughtTask


@dataclass(frozen=True)
class Study:
    """A task with the teacher, student and ranges to search on it.

    Attributes:
        name: what the user types.
        summary: one line for ``--help``.
        task: makes the task, given the data directory and image size of the command line.
        needs_data: whether a data directory must be given.
        teacher: the teacher's architecture.
        student: the student's architecture, at the depth and width that the first trials have.
        teacher_epochs: of the teacher's training.
        epochs: of each trial.
        trials: how many trials by default.
        depths: range of the student's depth.
        widths: range of the student's width.
        teacher_threads: processors that train the teacher, or None for all of the machine's; a network on
            8x8 pixels is too small to be shared out.
        space: draws recipes.
        teacher_views: in how many augmentation views the teacher's outputs are remembered; None if no recipe
            of the space asks for them.
        taught: make, of the task and the teacher's ``recipe_id``, the tasks of the space whose training data
            is the teacher's to make, such as ``TeacherTranslations``. It makes them once a sweep.
    """

    name: str
    summary: str
    task: Callable[[Path | None, int | None], Task]
    needs_data: bool
    teacher: Model
    student: Model
    teacher_epochs: int
    epochs: int
    trials: int
    depths: tuple[int, int]
    widths: tuple[float, float]
    teacher_threads: int | None = None
    space: Space = images
    teacher_views: int | None = 16
    taught: tuple[Callable[[Any, str], TaughtTask], ...] = ()

    def teacher_recipe(self, task: Task) -> Recipe:
        """How the teacher is made: full precision, from labels alone."""
        return methods.full_precision(task, self.teacher, epochs=self.teacher_epochs)

    def context(self, task: Task, teacher_id: str, seed: int) -> Context:
        """What every trial of a sweep has in common."""
        return Context(
            task,
            self.student,
            teacher_id,
            self.epochs,
            self.depths,
            self.widths,
            seed=seed,
            teacher_views=self.teacher_views,
        )

    def starting_points(self, context: Context) -> list[dict[str, object]]:
        """Parameters of the first trials."""
        return starting_points(context)

    def smallest(self, context: Context) -> Recipe:
        """The recipe that packs smallest."""
        return smallest(context)


def _embedded(task: type[Task]) -> Callable[[Path | None, int | None], Task]:
    def make(directory: Path | None, image_size: int | None) -> Task:
        if image_size is not None:
            raise Problem(f"--image-size is for the study image_folder; {task.__name__} has a fixed size.")
        return task()

    return make


def _folder(directory: Path | None, image_size: int | None) -> Task:
    if directory is None:
        raise Problem(
            "The study image_folder needs --data DIR, a directory with one folder of images per class."
        )
    return ImageFolder.scan(directory, None if image_size is None else (image_size, image_size))


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
        trials=36,
        depths=(1, 3),
        widths=(0.1, 0.5),
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
        depths=(1, 2),
        widths=(0.25, 1.0),
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
        depths=(1, 3),
        widths=(0.5, 2.0),
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
        depths=(1, 3),
        widths=(0.5, 4.0),
    ),
    Study(
        name="image_folder",
        summary="your own images, one folder per class (--data DIR)",
        task=_folder,
        needs_data=True,
        teacher=ResNet(depth=3, width=2.0),
        student=ResNet(depth=1, width=1.0),
        teacher_epochs=30,
        epochs=20,
        trials=50,
        depths=(1, 2),
        widths=(0.25, 1.0),
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
            # How an own model's channels begin is unknown; the study's narrowest widths may leave it nothing.
            return replace(study, widths=(0.25, 1.0), student=Custom(target=own_model, depth=1, width=1.0))
    raise Problem(f"There is no study {name!r}; choose one of {', '.join(s.name for s in STUDIES)}.")
