"""Records what every recipe of a grid does, epoch by epoch, for the tabulated benchmark.

    nice python -m benchmarks.record_table own-network --out recorded/   # goes on where it was stopped
    python -m benchmarks.record_table own-network --out recorded/ --check 9  # against trainings alone
    python -m benchmarks.record_table own-network --out recorded/ --pack     # writes the table of the grid

Before training and after every epoch each student is packed, read back, rebuilt and evaluated on the
validation split, as a trial does; the finished one on the test split as well. The table holds the recipes of
a grid of :mod:`benchmarks.grids`, each with the sizes, accuracies and processor times of all its epochs
(``time.thread_time``, so other load on the machine is not in them). The digits take about 40 minutes of one
core, the network of one's own and spoken digits (``--data``) 20 each, slices for CIFAR-10 40: where images
and checkpoint of these are, the environment says, see :mod:`benchmarks.own_front.job`.

Recipes that train alike are trained once: those whose first phases are the same
(:func:`trainables.training.prefixes.prefixes`), such as full precision and what is rounded after it, go on
from copies of these. What a trial would have spent alone is what is recorded: the shared training and its
own packing and evaluating. ``--check N`` trains N recipes of the table by themselves and compares; every size
and quality must be equal.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import torch
from torch import nn

from benchmarks.grid import Point, StudySpace
from benchmarks.grids import GRIDS
from benchmarks.recorded_table import Facts, pack_table
from search.objectives.front import worth
from search.teaching.along import cached_route
from search.teaching.given import packed_as_given
from search.teaching.kept import cached_teacher, keep_teacher, teacher_epochs
from trainables.shipping.evaluation import evaluate_file, open_student
from trainables.teachers.sources import Checkpoints, LocalSources
from trainables.training.prefixes import Prefix, prefixes
from trainables.training.shared_state import shared_state, take_shared_state
from trainables.training.trainer import Trainer

PARTS = 10_000
"""Of a quality that is no share of samples: BLEU is told to 0.01."""


@dataclass
class Course:
    """What one recipe did.

    Attributes:
        point: the recipe.
        recipe_id: its identity.
        bytes: of the packed student before training and after each epoch.
        quality: of the student decoded from it on the validation split, likewise; in :meth:`Recorder.parts`.
        seconds: processor time up to then from the result before; the first holds building the student.
        test: of the last one on the test split, likewise.
    """

    point: Point
    recipe_id: str
    bytes: list[int] = field(default_factory=list)
    quality: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    test: int = -1


class Recorder:
    """Trains and measures.

    Args:
        space: of the recipes.
        folder: keeps the teacher.
        data: directory of the space's data; None (default) where it needs none.

    Raises:
        DataError: the data is not that of the space.
    """

    def __init__(self, space: StudySpace, folder: Path, data: Path | None = None) -> None:
        self.space = space
        self.study, self.context = space.study_and_context(folder)
        task = self.context.task
        self.arrays = self.study.read(task, data, folder, print)
        self.cpu = torch.device("cpu")
        self.opened = task.open(self.arrays, self.cpu, 0)
        self.teacher = self._teacher(folder)
        network = open_student(self.teacher)[1]
        self.sources = LocalSources(
            lambda recipe_id: network, self.study.given, lambda recipe_id: self._along(folder)
        )
        if self.context.teacher_views is not None:  # asked before any clock runs
            self.sources.outputs(self.context.teacher_id, self.context.teacher_views, self.opened)

    def _teacher(self, folder: Path) -> bytes:
        """Its packed file."""
        recipe = self.study.teacher_recipe(self.context.task)
        if not recipe.epochs:
            return packed_as_given(recipe, self.opened, self.study.given)
        kept = cached_teacher(folder, recipe)
        if kept is not None:
            return kept
        print(f"training the teacher, {recipe.epochs} epochs", flush=True)
        *_, last = teacher_epochs(recipe, self.arrays, "cpu", 1, folder, route=True)
        assert isinstance(last, bytes)
        keep_teacher(folder, recipe, last)
        return last

    def _along(self, folder: Path) -> Mapping[int, nn.Module]:
        """The teacher along its training.

        Raises:
            ValueError: it was trained where these were not kept.
        """
        recipe = self.study.teacher_recipe(self.context.task)
        route = cached_route(folder, recipe, self.teacher)
        if route is None:
            raise ValueError(
                f"{folder} has no checkpoints along the training of its teacher: use a new folder"
            )
        return Checkpoints(route, lambda epoch: open_student(route[epoch].tobytes())[1])

    def facts(self) -> Facts:
        """What the table tells beside courses."""
        return Facts(
            teacher_bytes=len(self.teacher),
            teacher_quality=self.share(evaluate_file(self.teacher, self.opened, "validation")),
            validation_parts=self.parts("validation"),
            test_parts=self.parts("test"),
        )

    def share(self, told: Mapping[str, float]) -> float:
        """The space's quality as a share of its range, among all that an evaluation told."""
        return float(worth(told[self.space.quality.name], self.space.quality, math.nan))

    def parts(self, split: str) -> int:
        """Whole parts in which the table tells a share: samples where it is one of them."""
        return self.opened.samples(split) if self.space.quality.name == "accuracy" else PARTS

    def groups(self, points: Sequence[Point]) -> list[list[Point]]:
        """All points, recipes with the same first phases together."""
        found: dict[str, list[Point]] = {}
        for number, point in enumerate(points):
            prefix = self._prefix(point)
            found.setdefault(str(number) if prefix is None else prefix.key, []).append(point)
        return list(found.values())

    def _prefix(self, point: Point) -> Prefix | None:
        """The longest first phases of a recipe that others may share; None if there are none."""
        *_, last = [None, *prefixes(self.space.recipe_of(point, self.study, self.context))]
        return last

    def trainer(self, point: Point) -> Trainer:
        """A trial of its own, untrained."""
        recipe = self.space.recipe_of(point, self.study, self.context)
        task = recipe.task.open(self.arrays, self.cpu, recipe.seed)
        return Trainer(recipe, task, self.sources, self.cpu)

    def timed_trainer(self, point: Point) -> tuple[Trainer, Course, float]:
        """A trainer, an empty course, and the seconds that building took."""
        started = time.thread_time()
        trainer = self.trainer(point)
        return trainer, Course(point, trainer.recipe.recipe_id), time.thread_time() - started

    def measure(self, trainer: Trainer, course: Course, seconds: float) -> None:
        """Pack, read back and evaluate the student as it is; ``seconds`` were spent before."""
        started = time.thread_time()
        data = trainer.ship()
        _, student = open_student(data)
        share = self.share(trainer.task.evaluate(student, "validation"))
        course.seconds.append(seconds + time.thread_time() - started)
        course.bytes.append(len(data))
        course.quality.append(round(share * self.parts("validation")))
        if trainer.finished:
            test = self.share(evaluate_file(data, trainer.task, "test"))
            course.test = round(test * self.parts("test"))

    def train(self, trainer: Trainer, course: Course) -> Course:
        """Train to the end."""
        while not trainer.finished:
            started = time.thread_time()
            trainer.train_epoch()
            self.measure(trainer, course, time.thread_time() - started)
        return course

    def alone(self, point: Point) -> Course:
        """One recipe by itself, as a trial trains it."""
        trainer, course, seconds = self.timed_trainer(point)
        self.measure(trainer, course, seconds)
        return self.train(trainer, course)

    def together(self, wanted: Sequence[Point], prefix: Prefix) -> Iterator[Course]:
        """Recipes with the same first phases, which one more trains for all."""
        shared = self.trainer(wanted[0])
        branches = [self.timed_trainer(point) for point in wanted]
        for trainer, course, seconds in branches:
            self.measure(trainer, course, seconds)
        while shared.epoch < prefix.epochs:
            started = time.thread_time()
            shared.train_epoch()
            trained = time.thread_time() - started
            for trainer, course, _ in branches:
                entering = follow(trainer, shared, prefix)
                self.measure(trainer, course, trained + entering)
        for trainer, course, _ in branches:
            yield self.train(trainer, course)

    def group(self, wanted: Sequence[Point]) -> list[Course]:
        """All recipes of one of :meth:`groups`."""
        prefix = self._prefix(wanted[0])
        if prefix is None or len(wanted) == 1:
            return [self.alone(point) for point in wanted]
        return list(self.together(wanted, prefix))


def follow(trainer: Trainer, shared: Trainer, prefix: Prefix) -> float:
    """Bring ``trainer``, in its first phases, to where ``shared`` is; the seconds that a new phase took.

    What training moves is the other's; what quantizers know stays its own, and is made when the phase that
    quantizes begins, as in a training by itself.
    """
    (theirs,), (own,) = shared.learners, trainer.learners
    take_shared_state(own.kept(), shared_state(theirs.kept(), masks=prefix.masks), masks=prefix.masks)
    trainer.epoch = shared.epoch
    started = time.thread_time()
    own.enter_due_phases(trainer.epoch)
    return time.thread_time() - started


def record(recorder: Recorder, points: Sequence[Point], path: Path) -> None:
    """Append what is missing in ``path``, one line for each group."""
    done = {spelled(course["point"]) for course in read_courses(path)}
    groups = [group for group in recorder.groups(points) if not {spelled(point) for point in group} <= done]
    started = time.perf_counter()
    with path.open("a") as file:
        for number, group in enumerate(groups):
            courses = recorder.group(group)
            append(courses, file)
            spent = sum(sum(course.seconds) for course in courses)
            print(
                f"{number + 1}/{len(groups)} {len(courses)} recipes such as {group[0]}, {spent:.1f} s of "
                f"trials; {time.perf_counter() - started:.0f} s passed, {time.process_time():.0f} s computed",
                flush=True,
            )


def append(courses: Sequence[Course], file: TextIO) -> None:
    """One line, which is there to stay."""
    file.write(json.dumps([vars(course) for course in courses]) + "\n")
    file.flush()
    os.fsync(file.fileno())


def spelled(point: Point) -> str:
    """A point in one spelling."""
    return json.dumps(point, sort_keys=True)


def read_courses(path: Path) -> list[dict[str, Any]]:
    """What is recorded; a last line that a killed process left unfinished is cut off."""
    if not path.exists():
        return []
    text = path.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    if len(whole) < len(text):
        path.write_bytes(whole)
    return [course for line in whole.splitlines() for course in json.loads(line)]


def check(recorder: Recorder, path: Path, count: int) -> None:
    """Train ``count`` recorded recipes by themselves, of every method in turn, and compare."""
    recorded = read_courses(path)
    shuffled = random.Random(count).sample(recorded, len(recorded))
    by_method: dict[str, list[dict[str, Any]]] = {}
    for course in shuffled:
        by_method.setdefault(course["point"]["method"], []).append(course)
    turns = [course for row in zip(*by_method.values(), strict=False) for course in row]
    for course in turns[:count]:
        mine = recorder.alone(course["point"])
        for name in ("recipe_id", "bytes", "quality", "test"):
            if getattr(mine, name) != course[name]:
                raise SystemExit(
                    f"{course['point']}: {name} is {course[name]}, but alone {getattr(mine, name)}"
                )
        ratio = sum(course["seconds"]) / sum(mine.seconds)
        print(f"equal: {course['point']}; recorded seconds are {ratio:.2f} of those alone", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("grid", choices=tuple(GRIDS))
    parser.add_argument("--out", type=Path, required=True, help="folder of the recording and of the teacher")
    parser.add_argument("--data", type=Path, metavar="DIR", help="of a grid that needs some")
    parser.add_argument("--check", type=int, metavar="N", help="train N recipes by themselves and compare")
    parser.add_argument(
        "--pack", action="store_true", help="write the finished recording as the grid's table"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "recorded.jsonl"
    grid = GRIDS[arguments.grid]
    recorder = Recorder(grid, arguments.out, arguments.data)
    if arguments.pack:
        pack_table(grid.path, read_courses(path), grid.points(), recorder.facts())
    elif arguments.check is not None:
        check(recorder, path, arguments.check)
    else:
        record(recorder, grid.points(), path)


if __name__ == "__main__":
    main()
