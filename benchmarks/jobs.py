"""What the tables of published methods share: trainings that one command runs, keeps and continues.

A table is a list of :class:`Job`, each one training, of which every packed file is a :class:`Cell`. A
finished cell lies in the run's folder with its numbers, under the identity of its recipe, so that the same
command goes on where it was stopped, and more seeds or students add to what is there. Every number is
measured on the packed file. The test split is read once per final file and decides nothing.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import math
import multiprocessing
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import safetensors.numpy
import safetensors.torch
import torch
from torch import Tensor, nn

from trainables import methods
from trainables.files import write_file
from trainables.losses import SoftTargets
from trainables.methods import Setting
from trainables.metrics.latency import fingerprint
from trainables.models.base import Model
from trainables.optimizers import AdamW
from trainables.origins import Fresh
from trainables.quantizers import LearnedPoints, Uniform
from trainables.recipe import Recipe
from trainables.schedules import Constant
from trainables.shipping.evaluation import evaluate_file, open_student
from trainables.shipping.packed_file import SUFFIX
from trainables.tasks.base import Arrays, LoadedTask, Task, TaughtTask
from trainables.teachers.inside import remember_features
from trainables.teachers.remembered import remember
from trainables.training.checkpoint import read_checkpoint, write_checkpoint
from trainables.training.trainer import Trainer

BUCKET_SIZE = 256
FULL_PRECISION = 32
"""What a cell's bits are where its weights are not quantized."""
TEACHER = 0
"""The teacher's number among the students."""
DEVICES = ("cpu", "cuda")


@dataclass(frozen=True)
class Settings:
    """What one run of a table trains.

    Attributes:
        students: numbers of the table's students.
        seeds: of initialisation and order; the teacher has the seed 0.
        budget: what a training costs, over what it costs in full; in (0, 1].
        device: ``cpu`` or ``cuda``.
    """

    students: tuple[int, ...]
    seeds: tuple[int, ...]
    budget: float
    device: str

    def __post_init__(self) -> None:
        if not 0.0 < self.budget <= 1.0:
            raise ValueError(f"budget must be in (0, 1], got budget={self.budget}")
        if not self.students or min(self.students) <= TEACHER:
            raise ValueError(f"students must be numbers above {TEACHER}, got students={self.students}")
        if not self.seeds:
            raise ValueError("seeds must hold at least one, got seeds=()")
        if self.device not in DEVICES:
            raise ValueError(f"device must be one of {', '.join(DEVICES)}, got device={self.device!r}")

    @property
    def data_share(self) -> float:
        """Of the training data."""
        return self.budget ** (1 / 3)

    @property
    def epoch_share(self) -> float:
        """Of the epochs, so that with :attr:`data_share` the cost is the budget's."""
        return self.budget ** (2 / 3)


@dataclass(frozen=True)
class Training:
    """How all students of a table are trained, whatever the method.

    Attributes:
        epochs: of every training of a student's weights, at least 1.
        points_epochs: of moving DQ's points afterwards, at least 1.
        learning_rate: of the weights.
        points_learning_rate: of the points.
        views: in which the teacher's outputs are remembered.
        bits: of post-training quantization and QD.
        points_bits: of DQ.
        temperature: of soft targets.
    """

    epochs: int
    points_epochs: int
    learning_rate: float
    points_learning_rate: float
    views: int
    bits: tuple[int, ...]
    points_bits: tuple[int, ...]
    temperature: float

    def setting(self, task: Task, model: Model, teacher: Recipe | None = None, seed: int = 0) -> Setting:
        """What every method is given; ``teacher`` is the recipe of the one to imitate."""
        teacher_id = None if teacher is None else teacher.recipe_id
        return Setting(task, Fresh(model), self.epochs, teacher_id, self.views, seed=seed)

    @property
    def optimizer(self) -> AdamW:
        """Of the weights."""
        return AdamW(self.learning_rate)

    @property
    def imitation(self) -> SoftTargets:
        """The soft targets of every method that has them."""
        return SoftTargets(Constant(self.temperature))


@dataclass(frozen=True)
class Cell:
    """One packed file of the table; ``student`` is 0 for the teacher, ``bits`` 32 for full precision."""

    student: int
    method: str
    bits: int
    seed: int
    recipe: Recipe


@dataclass(frozen=True)
class Lesson:
    """Training data that a trained network makes.

    Attributes:
        teacher_id: identity of its recipe.
        task: what it makes them for.
    """

    teacher_id: str
    task: TaughtTask


@dataclass(frozen=True)
class Job:
    """One training and the files it gives.

    Attributes:
        name: for people, unique within a run.
        cells: the files; the first one's recipe is the one that is trained.
        needs: name of the job that must have ended before, or None.
        start: recipe whose state one epoch before its end this one continues from, or None.
        handed_on: whether another job continues from this one's state.
        taught_views: in how many views the trained network's outputs are remembered afterwards.
        lesson: that this one is trained on, or None.
        lessons: that the trained network makes afterwards.
    """

    name: str
    cells: tuple[Cell, ...]
    needs: str | None = None
    start: Recipe | None = None
    handed_on: bool = False
    taught_views: int = 0
    lesson: Lesson | None = None
    lessons: tuple[Lesson, ...] = field(default=())


Measure = Callable[[Cell, bytes, LoadedTask], Mapping[str, float]]
"""Further numbers of a cell's packed file on its data."""


def nothing_more(cell: Cell, data: bytes, loaded: LoadedTask) -> Mapping[str, float]:
    """No further numbers; see :data:`Measure`."""
    return {}


# What is trained


def teacher_job(teacher: Recipe, views: int, lessons: tuple[Lesson, ...] = ()) -> Job:
    """The teacher's training, which the others wait for under the name ``teacher``."""
    cell = Cell(TEACHER, "fp", FULL_PRECISION, teacher.seed, teacher)
    return Job("teacher", (cell,), taught_views=views, lessons=lessons)


def student_jobs(
    task: Task, model: Model, teacher: Recipe, training: Training, student: int, seed: int
) -> list[Job]:
    """The trainings of one student from one seed.

    Methods: ``fp``, full precision from labels; ``kd``, full precision distilled; ``pm`` and ``pm256``, that
    one rounded afterwards without and with buckets of 256 (the paper's "post-mortem"); ``qd``, quantized
    distillation; ``dq``, differentiable quantization that starts from the distilled student.
    """
    given, optimizer = training.setting(task, model, teacher, seed), training.optimizer
    imitating: dict[str, Any] = {"optimizer": optimizer, "imitation": training.imitation}
    name = job_name(student, seed)

    def cell(method: str, bits: int, recipe: Recipe) -> Cell:
        return Cell(student, method, bits, seed, recipe)

    normal = methods.full_precision(given, optimizer=optimizer)
    distilled = methods.knowledge_distillation(given, **imitating)
    rounded = [
        cell(method, bits, rounded_afterwards(distilled, bits, bucket_size))
        for method, bucket_size in (("pm", None), ("pm256", BUCKET_SIZE))
        for bits in training.bits
    ]
    jobs = [
        Job(f"{name}: fp", (cell("fp", FULL_PRECISION, normal),)),
        Job(
            f"{name}: kd",
            (cell("kd", FULL_PRECISION, distilled), *rounded),
            needs="teacher",
            handed_on=True,
        ),
    ]
    for bits in training.bits:
        recipe = methods.quantized_distillation(given, quantizer=Uniform(bits, BUCKET_SIZE), **imitating)
        jobs.append(Job(f"{name}: qd {bits} bits", (cell("qd", bits, recipe),), needs="teacher"))
    for bits in training.points_bits:
        recipe = methods.differentiable_quantization(
            replace(given, epochs=training.epochs + training.points_epochs),
            quantizer=LearnedPoints(bits, BUCKET_SIZE),
            points_epochs=training.points_epochs,
            points_learning_rate=training.points_learning_rate,
            **imitating,
        )
        jobs.append(
            Job(
                f"{name}: dq {bits} bits",
                (cell("dq", bits, recipe),),
                needs=f"{name}: kd",
                start=distilled,
            )
        )
    return jobs


def job_name(student: int, seed: int) -> str:
    """How the names of a student's jobs begin."""
    return f"student {student}, seed {seed}"


def rounded_afterwards(trained: Recipe, bits: int, bucket_size: int | None) -> Recipe:
    """The recipe of the same training whose weights are rounded at its end."""
    return replace(
        trained,
        method="post_training_quantization",
        quantizer=Uniform(bits, bucket_size, scale_dtype="float16"),
        exempt_dtype="float16",
    )


def thinned(names: Sequence[str], share: float) -> list[int]:
    """Positions, ascending, of the share of ``names`` whose hashes are smallest; at least one.

    Fixed, and smaller shares lie within larger ones.
    """
    ordered = sorted(range(len(names)), key=lambda i: (hashlib.sha256(names[i].encode()).digest(), i))
    return sorted(ordered[: max(1, round(share * len(ordered)))])


# Training one job


class KeptSources:
    """Teachers from the packed files of a run's folder, and what they made, computed once and kept there."""

    def __init__(self, out: Path) -> None:
        self._out = out

    def network(self, recipe_id: str) -> nn.Module:
        """See :class:`trainables.teachers.base.Sources`."""
        return open_student((self._out / "cells" / f"{recipe_id}{SUFFIX}").read_bytes())[1]

    def given(self, weights: str) -> Mapping[str, Tensor]:
        """See :class:`trainables.teachers.base.Sources`."""
        raise ValueError(f"no job here begins with a user's weights, got {weights=}")

    def route(self, recipe_id: str) -> Mapping[int, nn.Module]:
        """See :class:`trainables.teachers.base.Sources`."""
        raise ValueError(f"no job here keeps checkpoints along a training, got {recipe_id=}")

    def outputs(self, recipe_id: str, views: int, task: LoadedTask) -> Mapping[str, Tensor]:
        """See :class:`trainables.teachers.base.Sources`."""
        path = self._out / "teacher" / f"{recipe_id}-{views}-{task.fingerprint()}.safetensors"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            write_file(path, safetensors.torch.save(remember(self.network(recipe_id), task, views)))
        return safetensors.torch.load(path.read_bytes())

    def features(self, recipe_id: str, views: int, task: LoadedTask, place: str) -> tuple[Tensor, ...]:
        """See :class:`trainables.teachers.base.Sources`."""
        key = hashlib.sha256(place.encode()).hexdigest()[:8]
        path = self._out / "teacher" / f"{recipe_id}-{views}-{task.fingerprint()}-{key}.safetensors"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            found = remember_features(self.network(recipe_id), task, views, (place,))[place]
            write_file(path, safetensors.torch.save({str(n): each for n, each in enumerate(found)}))
        kept = safetensors.torch.load(path.read_bytes())
        return tuple(kept[str(number)] for number in range(len(kept)))

    def lesson(self, lesson: Lesson, arrays: Arrays, device: torch.device) -> Arrays:
        """What the teacher made for the task of ``lesson``, whose other data are ``arrays``."""
        canonical = json.dumps(lesson.task.to_dict(), sort_keys=True)
        key = hashlib.sha256(f"{lesson.teacher_id} {canonical}".encode()).hexdigest()[:16]
        path = self._out / "teacher" / f"{lesson.teacher_id}-{lesson.task.product}-{key}.safetensors"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            made = lesson.task.taught(self.network(lesson.teacher_id), arrays, device)
            write_file(path, safetensors.numpy.save(dict(made)))
        return safetensors.numpy.load(path.read_bytes())


def run_job(
    job: Job, data: Path | None, device: torch.device, out: Path, measure: Measure = nothing_more
) -> None:
    """Train, pack, measure and keep one job's files.

    Args:
        job: what is not done yet.
        data: folder of its task's data.
        device: where to train and to evaluate.
        out: the run's folder.
        measure: further numbers of each file.
    """
    trained = job.cells[0].recipe
    sources = KeptSources(out)
    arrays = arrays_of(trained.task, data)
    if job.lesson is not None:
        arrays = {**arrays, **sources.lesson(job.lesson, arrays, device)}
    loaded = trained.task.open(arrays, device, trained.seed)
    trainer = Trainer(trained, loaded, sources, device)
    if job.start is not None:
        continue_from(trainer, _state_of(out, job.start))
    first, begin = trainer.epoch, time.perf_counter()
    while not trainer.finished:
        if job.handed_on and trainer.epoch == trained.epochs - 1:
            trainer.save(_state_of(out, trained))
        trainer.train_epoch()
    seconds = time.perf_counter() - begin
    speed = {
        "training_seconds": round(seconds, 1),
        "training_rows_per_second": round(loaded.rows("train") * (trainer.epoch - first) / seconds, 1),
    }
    with TemporaryDirectory() as folder:
        trainer.save(Path(folder))
        keep(job.cells[0], trainer.ship(), loaded, speed, out, measure)
        for cell in job.cells[1:]:
            other = Trainer(cell.recipe, loaded, sources, device)
            continue_from(other, Path(folder))
            keep(cell, other.ship(), loaded, speed, out, measure)
    if job.taught_views:
        sources.outputs(trained.recipe_id, job.taught_views, loaded)
    for lesson in job.lessons:
        sources.lesson(lesson, arrays, device)


def continue_from(trainer: Trainer, directory: Path) -> None:
    """Take over the checkpoint of another recipe whose training was the same up to there.

    What the other recipe does not have, such as a quantizer's points, stays as ``trainer`` built it.

    Raises:
        CheckpointError: ``directory`` holds the state of another student.
    """
    with TemporaryDirectory() as folder:
        own = Path(folder)
        trainer.save(own)
        tensors, facts = read_checkpoint(own)
        theirs, their_facts = read_checkpoint(directory)
        tensors |= {name: value for name, value in theirs.items() if ".quantizer." not in name}
        facts["epoch"] = their_facts["epoch"]
        (ours,), (given,) = facts["learners"], their_facts["learners"]
        ours["optimizer"] = given["optimizer"]
        write_checkpoint(own, tensors, facts)
        trainer.load(own)


def keep(
    cell: Cell,
    data: bytes,
    loaded: LoadedTask,
    speed: Mapping[str, float],
    out: Path,
    measure: Measure = nothing_more,
) -> None:
    """Write a packed file and, after it, its numbers: the file of numbers completes the cell.

    Of each quality of the task there are ``validation_<name>`` and ``test_<name>``, None where infinite.
    """
    qualities = {
        f"{split}_{name}": value if math.isfinite(value) else None
        for split in ("validation", "test")
        for name, value in evaluate_file(data, loaded, split).items()
    }
    numbers = {
        "student": cell.student,
        "method": cell.method,
        "bits": cell.bits,
        "seed": cell.seed,
        "recipe_id": cell.recipe.recipe_id,
        **qualities,
        "packed_bytes": len(data),
        **speed,
        **measure(cell, data, loaded),
        "machine": machine(loaded.device),
    }
    write_file(_file_of(out, cell.recipe), data)
    write_file(_numbers_of(out, cell.recipe), (json.dumps(numbers, indent=1) + "\n").encode())


def machine(device: torch.device) -> dict[str, Any]:
    """What a reader needs to judge the times: processor, device, threads and versions."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    versions = {package: version(package) for package in ("torch", "numpy")}
    facts = {"device": name, "threads": torch.get_num_threads(), "python": platform.python_version()}
    return {**fingerprint(), **facts, **versions}


@functools.cache
def arrays_of(task: Task, data: Path | None) -> Arrays:
    """The task's data, read once per process.

    Raises:
        DataError: they cannot be used.
    """
    return task.load(data)


def _file_of(out: Path, recipe: Recipe) -> Path:
    return out / "cells" / f"{recipe.recipe_id}{SUFFIX}"


def _numbers_of(out: Path, recipe: Recipe) -> Path:
    return out / "cells" / f"{recipe.recipe_id}.json"


def _state_of(out: Path, recipe: Recipe) -> Path:
    return out / "states" / recipe.recipe_id


# Running all jobs


def is_done(job: Job, out: Path) -> bool:
    """Whether an earlier run has finished all of the job's cells."""
    return all(
        _file_of(out, cell.recipe).exists() and _numbers_of(out, cell.recipe).exists() for cell in job.cells
    )


def run_all(jobs: Sequence[Job], run: Callable[[Job], None], out: Path, workers: int) -> None:
    """Run what is not done yet, ``workers`` processes at a time; ``run`` is called in this one for 1.

    Raises:
        Exception: what a job raised; files finished by then stay.
    """
    done = {job.name for job in jobs if is_done(job, out)}
    waiting = [job for job in jobs if job.name not in done]
    begin = time.perf_counter()

    def note(name: str) -> None:
        done.add(name)
        print(f"{time.perf_counter() - begin:7.0f} s  {len(done):3d} of {len(jobs)}  {name}", flush=True)

    if workers == 1:
        for job in waiting:  # in an order in which what is needed comes first
            run(job)
            note(job.name)
        return
    running: dict[Future[None], str] = {}
    context = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
    threads = max(1, (os.cpu_count() or 1) // workers)
    with ProcessPoolExecutor(workers, context, torch.set_num_threads, (threads,)) as pool:
        while waiting or running:
            for job in [job for job in waiting if job.needs is None or job.needs in done]:
                if len(running) == workers:
                    break
                waiting.remove(job)
                running[pool.submit(run, job)] = job.name
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                name = running.pop(future)
                future.result()
                note(name)


def in_starting_order(jobs: Sequence[Job]) -> list[Job]:
    """What needs no teacher first: it fills the other workers while that is trained."""
    return sorted(jobs, key=lambda job: job.needs is not None)


def collect(jobs: Sequence[Job], out: Path) -> list[dict[str, Any]]:
    """The numbers of all cells that are done."""
    paths = [_numbers_of(out, cell.recipe) for job in jobs if is_done(job, out) for cell in job.cells]
    return [json.loads(path.read_text()) for path in paths]


def add_arguments(parser: argparse.ArgumentParser, students: Sequence[int], data: str) -> None:
    """The options of every table; ``data`` says what ``--data`` is."""
    parser.add_argument("--data", type=Path, required=True, help=data)
    parser.add_argument("--out", type=Path, required=True, help="folder of results; kept and continued")
    parser.add_argument("--budget", type=float, default=1.0, help="cost of a training, in (0, 1]")
    parser.add_argument("--students", type=int, nargs="+", default=sorted(students), choices=sorted(students))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--device", choices=DEVICES, default="cpu")
    parser.add_argument("--workers", type=int, default=1, help="trainings at a time, each its own process")
