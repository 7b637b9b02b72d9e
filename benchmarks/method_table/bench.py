"""The data, teachers and sizes that methods are compared on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from search.teaching.given import packed_as_given
from studies.digits import STUDY as DIGITS
from studies.images import DIGITS_FAMILY
from studies.job import study_of_file
from trainables.models import ConvNet, ResNet
from trainables.models.base import Model
from trainables.origins import Fresh, Given, Slice, Trained
from trainables.origins.base import Origin
from trainables.recipe import Recipe
from trainables.shipping.evaluation import open_student
from trainables.slicing.cut import Cut
from trainables.tasks.base import Arrays, LoadedTask, Task
from trainables.teachers.sources import Checkpoints, LocalSources
from trainables.training.trainer import Trainer

CPU = torch.device("cpu")
ANCHORS = 8
"""Checkpoints along a teacher's training."""


@dataclass(frozen=True)
class Bench:
    """What all students of a table share.

    Attributes:
        task: of the data.
        arrays: the data.
        sources: give the teacher.
        teacher_id: names it.
        teacher: how it comes to be, as an origin of students.
        student: the architecture of new students of a width.
        sizes: widths of new students; slices keep this share of the widest one's.
        epochs: of a student, by default.
        views: in which the teacher's answers are remembered.
        learning_rate: of all methods.
    """

    task: Task
    arrays: Arrays
    sources: LocalSources
    teacher_id: str
    teacher: Origin
    student: Callable[[float], Model]
    sizes: tuple[float, ...]
    epochs: int
    views: int
    learning_rate: float

    def origins(self, size: float) -> Iterator[Origin]:
        """How students of a size may come to be, those that are tried first first."""
        yield Fresh(self.student(size))
        yield self.teacher
        yield Slice(self.teacher, Cut(width=size / max(*self.sizes, size)))


def of_digits(store: Path, images: int) -> Bench:
    """The built-in digits and their study's teacher, which is trained once; all images."""
    task = DIGITS.make_task(None, {})
    arrays = task.load(None)
    recipe = DIGITS.teacher_recipe(task)
    route = _along(recipe, task.open(arrays, CPU, recipe.seed), store)
    teacher = open_student(route[recipe.epochs])[1]
    return Bench(
        task=task,
        arrays=arrays,
        sources=LocalSources(
            lambda recipe_id: teacher,
            route=lambda recipe_id: Checkpoints(route, lambda epoch: open_student(route[epoch])[1]),
        ),
        teacher_id=recipe.recipe_id,
        teacher=Trained(recipe.model, recipe.recipe_id),
        student=lambda width: ConvNet(depth=2, width=width, **DIGITS_FAMILY),
        sizes=(0.1, 0.2, 0.4),
        epochs=20,
        views=20,
        learning_rate=5e-3,
    )


def of_cifar(store: Path, images: int) -> Bench:
    """CIFAR-10 images and a trained ResNet, see :mod:`benchmarks.own_front`; ``images`` of those to train on.

    They are taken evenly, since a folder's images lie class by class.
    """
    study = study_of_file(Path(__file__).parents[1] / "own_front" / "job.py", print)
    task = study.make_task(None, {})
    assert study.arrays is not None and isinstance(study.teacher, Given)  # of a job file
    arrays = {
        name: values[:: max(len(values) // images, 1)] if name.startswith("train") else values
        for name, values in study.arrays.items()
    }
    recipe = study.teacher_recipe(task)
    file = packed_as_given(recipe, task.open(arrays, CPU, 0), study.given)
    teacher = open_student(file)[1]
    return Bench(
        task=task,
        arrays=arrays,
        sources=LocalSources(lambda recipe_id: teacher, study.given),
        teacher_id=recipe.recipe_id,
        teacher=study.teacher,
        student=lambda width: ResNet(depth=1, width=width),
        sizes=(0.25, 0.5, 1.0),
        epochs=4,
        views=4,
        learning_rate=5e-3,
    )


def _along(recipe: Recipe, task: LoadedTask, store: Path) -> dict[int, bytes]:
    """The packed teacher after each eighth of its training, by epochs; trained if it is not there."""
    epochs = [round(recipe.epochs * part / ANCHORS) for part in range(1, ANCHORS + 1)]
    places = {epoch: store / f"teacher-{recipe.recipe_id}-{epoch}.rdz" for epoch in epochs}
    if not all(place.exists() for place in places.values()):
        trainer = Trainer(recipe, task, LocalSources(_nobody), CPU)
        while not trainer.finished:
            trainer.train_epoch()
            if trainer.epoch in places:
                places[trainer.epoch].write_bytes(trainer.ship())
    return {epoch: place.read_bytes() for epoch, place in places.items()}


def _nobody(recipe_id: str) -> torch.nn.Module:
    raise ValueError(f"the teacher imitates nobody, and was asked for {recipe_id}")


benches: dict[str, Callable[[Path, int], Bench]] = {"digits": of_digits, "cifar": of_cifar}
"""By name, given a folder for what is trained once, and how many training images there shall be."""
