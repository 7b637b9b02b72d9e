"""Records what every recipe of a grid of the digits space does, epoch by epoch, for the tabulated benchmark.

    nice python -m benchmarks.record_digits --out recorded/                 # goes on where it was stopped
    python -m benchmarks.record_digits --out recorded/ --check 5            # against trainings of their own
    python -m benchmarks.record_digits --out recorded/ --pack benchmarks/data/digits-grid.npz

Before training and after every epoch each student is packed, read back, rebuilt and evaluated on the
validation split, as a trial does; the finished one on the test split as well. The table holds 1,632 recipes
of :mod:`benchmarks.digits_grid`, each with ``EPOCHS + 1`` sizes, accuracies and processor times
(``time.thread_time``, so other load on the machine is not in them), and takes about 40 minutes of one core.

Recipes that train alike are trained once. Post-training quantization is full precision, rounded; and
differentiable quantization, learned steps and quantization-aware training with other bits differ only from
the phase on that quantizes: each goes on from its own copy of the first phase. What a trial would have spent
alone is what is recorded: the shared training and its own packing and evaluating. ``--check N`` trains N
recipes of the table by themselves and compares; every size and accuracy must be equal.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from benchmarks.digits_grid import METHODS, Point, bases, points, points_of, recipe_of, study_and_context
from benchmarks.digits_table import pack_table
from search.teaching.kept import cached_teacher, keep_teacher, teacher_epochs
from trainables.shipping.evaluation import evaluate_file, open_student
from trainables.teachers.sources import LocalSources
from trainables.training.trainer import Trainer

FAMILIES: tuple[tuple[str, ...], ...] = (
    ("full_precision", "post_training_quantization"),
    ("knowledge_distillation",),
    ("quantized_distillation",),
    ("differentiable_quantization",),
    ("learned_step_quantization",),
    ("quantization_aware_training",),
)
"""Methods whose recipes on one base share their first phase, or are recorded together anyway."""

ALONE = ("quantized_distillation",)
"""Methods that quantize from the first step, so that nothing is shared."""


@dataclass
class Course:
    """What one recipe did.

    Attributes:
        point: the recipe.
        recipe_id: its identity.
        bytes: of the packed student before training and after each epoch.
        correct: validation images that the student decoded from it classifies rightly, likewise.
        seconds: processor time up to then from the result before; the first holds building the student.
        test: test images that the last one classifies rightly.
    """

    point: Point
    recipe_id: str
    bytes: list[int] = field(default_factory=list)
    correct: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    test: int = -1


class Recorder:
    """Trains and measures; ``store`` keeps the teacher."""

    def __init__(self, store: Path) -> None:
        self.study, self.context = study_and_context()
        self.task = self.context.task
        self.arrays = self.task.load(None)
        self.cpu = torch.device("cpu")
        recipe = self.study.teacher_recipe(self.task)
        teacher = cached_teacher(store, recipe)
        if teacher is None:
            print(f"training the teacher, {recipe.epochs} epochs", flush=True)
            *_, last = teacher_epochs(recipe, self.arrays, "cpu", 1)
            assert isinstance(last, bytes)
            teacher = last
            keep_teacher(store, recipe, teacher)
        self.teacher_bytes = len(teacher)
        network = open_student(teacher)[1]
        self.sources = LocalSources(lambda recipe_id: network)
        opened = self.task.open(self.arrays, self.cpu, 0)
        self.sources.outputs(recipe.recipe_id, self.context.epochs, opened)  # asked before any clock runs

    def trainer(self, point: Point) -> Trainer:
        """A trial of its own, untrained."""
        recipe = recipe_of(point, self.study, self.context)
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
        accuracy = trainer.task.evaluate(student, "validation")["accuracy"]
        course.seconds.append(seconds + time.thread_time() - started)
        course.bytes.append(len(data))
        course.correct.append(round(accuracy * trainer.task.samples("validation")))
        if trainer.finished:
            test = evaluate_file(data, trainer.task, "test")["accuracy"]
            course.test = round(test * trainer.task.samples("test"))

    def alone(self, point: Point) -> Course:
        """One recipe by itself, as a trial trains it."""
        trainer, course, seconds = self.timed_trainer(point)
        self.measure(trainer, course, seconds)
        while not trainer.finished:
            started = time.thread_time()
            trainer.train_epoch()
            self.measure(trainer, course, time.thread_time() - started)
        return course

    def together(self, wanted: list[dict[str, Any]]) -> Iterator[Course]:
        """Recipes with the same first phase, which the first of them trains for all."""
        shared = self.trainer(wanted[0])
        branches = [self.timed_trainer(point) for point in wanted]
        for trainer, course, seconds in branches:
            self.measure(trainer, course, seconds)
        for _ in range(shared.recipe.phases[0].epochs):
            started = time.thread_time()
            shared.train_epoch()
            trained = time.thread_time() - started
            for trainer, course, _ in branches:
                entering = self.follow(trainer, shared)
                self.measure(trainer, course, trained + entering)
        for trainer, course, _ in branches:
            while not trainer.finished:
                started = time.thread_time()
                trainer.train_epoch()
                self.measure(trainer, course, time.thread_time() - started)
            yield course

    def follow(self, trainer: Trainer, shared: Trainer) -> float:
        """Bring ``trainer``, in its first phase, to where ``shared`` is; the seconds that a new phase took.

        Weights, masks and statistics are the other's; what quantizers know stays its own, and is made when
        the phase that quantizes begins, as in a training by itself.
        """
        own = {name for name in trainer.student.state_dict() if "quantizer" in name}
        theirs = {k: v for k, v in shared.student.state_dict().items() if "quantizer" not in k}
        missing, unexpected = trainer.student.load_state_dict(theirs, strict=False)
        if set(missing) != own or unexpected:
            raise ValueError(f"the students of {trainer.recipe.method} do not share {missing} {unexpected}")
        trainer.epoch = shared.epoch
        started = time.thread_time()
        trainer.learners[0].enter_due_phases(trainer.epoch)
        return time.thread_time() - started

    def family(self, methods: tuple[str, ...], base: Point) -> list[Course]:
        """All recipes of ``methods`` on ``base``."""
        wanted = [point for method in methods for point in points_of(method, base)]
        if methods[0] in ALONE or len(wanted) == 1:
            return [self.alone(point) for point in wanted]
        return list(self.together(wanted))


def record(recorder: Recorder, path: Path) -> None:
    """Append what is missing in ``path``, one line per family and base."""
    done = {(tuple(line["methods"]), json.dumps(line["base"])) for line in read_lines(path)}
    # Small students of the study's own learning rate first: a part of the grid is then soon whole.
    ordered = sorted(bases(), key=lambda base: -base["learning_rate"])
    jobs = [(methods, base) for base in ordered for methods in FAMILIES]
    started = time.perf_counter()
    with path.open("a") as file:
        for number, (methods, base) in enumerate(jobs):
            if (methods, json.dumps(base)) in done:
                continue
            courses = recorder.family(methods, base)
            line = {"methods": methods, "base": base, "courses": [vars(course) for course in courses]}
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())
            spent = sum(sum(course.seconds) for course in courses)
            print(
                f"{number + 1}/{len(jobs)} {'+'.join(methods)} {dict(base)}: {len(courses)} recipes, "
                f"{spent:.0f} s of trials; {time.perf_counter() - started:.0f} s passed",
                flush=True,
            )


def read_lines(path: Path) -> list[dict[str, Any]]:
    """What is recorded; a last line that a killed process left unfinished is cut off."""
    if not path.exists():
        return []
    text = path.read_bytes()
    whole = text[: text.rfind(b"\n") + 1]
    if len(whole) < len(text):
        path.write_bytes(whole)
    return [json.loads(line) for line in whole.splitlines()]


def check(recorder: Recorder, path: Path, count: int) -> None:
    """Train ``count`` recorded recipes by themselves, of every method in turn, and compare."""
    recorded = [course for line in read_lines(path) for course in line["courses"]]
    shuffled = random.Random(count).sample(recorded, len(recorded))
    by_method = {
        method: [course for course in shuffled if course["point"]["method"] == method] for method in METHODS
    }
    turns = [course for row in zip(*by_method.values(), strict=False) for course in row]
    for course in turns[:count]:
        mine = recorder.alone(course["point"])
        for name in ("recipe_id", "bytes", "correct", "test"):
            if getattr(mine, name) != course[name]:
                raise SystemExit(
                    f"{course['point']}: {name} is {course[name]}, but alone {getattr(mine, name)}"
                )
        ratio = sum(course["seconds"]) / sum(mine.seconds)
        print(f"equal: {course['point']}; recorded seconds are {ratio:.2f} of those alone", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the recording and of the teacher")
    parser.add_argument("--check", type=int, metavar="N", help="train N recipes by themselves and compare")
    parser.add_argument("--pack", type=Path, metavar="FILE", help="write the finished recording as a table")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "recorded.jsonl"
    if arguments.pack is not None:
        courses = [course for line in read_lines(path) for course in line["courses"]]
        pack_table(arguments.pack, courses, points(), Recorder(arguments.out).teacher_bytes)
        return
    recorder = Recorder(arguments.out)
    if arguments.check is not None:
        check(recorder, path, arguments.check)
    else:
        record(recorder, path)


if __name__ == "__main__":
    main()
