"""The CIFAR-10 table of the quantized distillation paper (Polino et al. 2018), rerun in shape.

A full-precision teacher, then for each student and seed: full precision from labels, full precision
distilled, that distilled student rounded afterwards without and with buckets of 256 (the paper's
"post-mortem"), quantized distillation (QD), and differentiable quantization (DQ) that starts from the
distilled student. Every number is measured on the packed file. The test split is read once per final
file and decides nothing; validation is split off the training images.

    python benchmarks/paper_table.py --data cifar10-images.tar.xz --budget 0.01 --out table/

``--budget F`` takes the share F^(1/3) of the training images, the same of each class, and the share F^(2/3)
of the epochs, so that a training costs F times as much; the test images stay whole. The teacher's dropout
rates are multiplied by the share of the epochs: they are meant for hundreds of epochs. Every finished file
is kept in ``--out`` with its numbers, under the identity of its recipe, so that the same command continues
where it was stopped, and more seeds or students add to what is there.

What differs from the paper: AdamW and one cosine over the whole training for every method instead of SGD
with halvings on the test error; the teacher trains half as many epochs again as a student; biases and
normalisation are not quantized; scales and offsets are stored, and used, in float16.
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
import shutil
import statistics
import tarfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from trainables import methods
from trainables.evaluation import evaluate_file, open_student
from trainables.files import write_file
from trainables.metrics.latency import fingerprint
from trainables.models.base import Model
from trainables.models.convnet import PAPER_STUDENT_1, PAPER_STUDENT_2, PAPER_STUDENT_3, PAPER_TEACHER
from trainables.packed_file import SUFFIX
from trainables.quantizers import Uniform
from trainables.recipe import Recipe
from trainables.tasks import ImageFolder
from trainables.tasks.base import Arrays, DataError, LoadedTask
from trainables.teachers.remembered import remember
from trainables.trainer import Trainer

STUDENTS: dict[int, Model] = {1: PAPER_STUDENT_1, 2: PAPER_STUDENT_2, 3: PAPER_STUDENT_3}
BITS = (2, 4, 8)
POINTS_BITS = (2, 4)
BUCKET_SIZE = 256

FULL_EPOCHS = 200
"""Of every training at budget 1; the paper trains twice 200 epochs, the second time from the first's end."""
FULL_POINTS_EPOCHS = 20
"""Of moving DQ's points at budget 1, the paper's number at 2 bits."""
TEACHER_LENGTH = 1.5
"""Epochs of the teacher over a student's."""
BATCH_SIZE = {"cpu": 64, "cuda": 512}
LEARNING_RATE = 1e-3
"""Of AdamW at batch 64; grows with the root of the batch size, which keeps its noise the same."""
POINTS_LEARNING_RATE = 1e-4

MAX_ARCHIVE_FILES = 200_000
MAX_ARCHIVE_BYTES = 2**32

METHODS = {
    "fp": "full precision, normal",
    "kd": "full precision, distilled",
    "pm": "post-training, no buckets",
    "pm256": "post-training, bucket 256",
    "qd": "QD, bucket 256",
    "dq": "DQ, bucket 256",
}

PUBLISHED_TEACHER = 89.71
PUBLISHED: dict[tuple[int, str], tuple[float, ...]] = {
    (1, "fp"): (84.5,),
    (1, "kd"): (88.8,),
    (1, "pm"): (9.30, 67.99, 88.91),
    (1, "pm256"): (10.53, 87.18, 88.80),
    (1, "qd"): (82.4, 88.00, 88.82),
    (1, "dq"): (80.43, 88.31),
    (2, "fp"): (80.3,),
    (2, "kd"): (84.3,),
    (2, "pm"): (10.15, 68.05, 84.38),
    (2, "pm256"): (11.89, 81.96, 84.38),
    (2, "qd"): (74.22, 83.92, 84.22),
    (2, "dq"): (72.79, 83.49),
    (3, "fp"): (71.6,),
    (3, "kd"): (78.2,),
    (3, "pm"): (10.15, 61.30, 78.04),
    (3, "pm256"): (10.38, 72.44, 78.10),
    (3, "qd"): (67.02, 77.75, 77.92),
    (3, "dq"): (57.84, 77.36),
}
"""Accuracy in percent as printed in the paper, per (student, method) in the order of :data:`BITS`."""


@dataclass(frozen=True)
class Settings:
    """What one run of the table trains.

    Attributes:
        students: numbers of the paper's students, from 1, 2 and 3.
        seeds: of initialisation, order and views; the teacher has the seed 0.
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
        if not self.students or not set(self.students) <= STUDENTS.keys():
            raise ValueError(f"students must be some of 1, 2 and 3, got students={self.students}")
        if not self.seeds:
            raise ValueError("seeds must hold at least one, got seeds=()")

    @property
    def image_share(self) -> float:
        """Of the training images of each class."""
        return self.budget ** (1 / 3)

    @property
    def epoch_share(self) -> float:
        """Of the epochs."""
        return self.budget ** (2 / 3)

    @property
    def epochs(self) -> int:
        """Of every training of a student's weights."""
        return max(2, round(FULL_EPOCHS * self.epoch_share))

    @property
    def points_epochs(self) -> int:
        """Of moving DQ's points."""
        return max(1, round(FULL_POINTS_EPOCHS * self.epoch_share))

    @property
    def views(self) -> int:
        """In which the teacher's outputs are remembered: no epoch of the longest training repeats one."""
        return self.epochs + self.points_epochs

    @property
    def batch_size(self) -> int:
        """Images per step: enough of them to fill the device, few enough for a short training."""
        return BATCH_SIZE[self.device]

    @property
    def learning_rate(self) -> float:
        """Of AdamW."""
        return LEARNING_RATE * math.sqrt(self.batch_size / BATCH_SIZE["cpu"])


@dataclass(frozen=True)
class Cell:
    """One packed file of the table; ``bits`` is 32 for full precision, ``student`` 0 for the teacher."""

    student: int
    method: str
    bits: int
    seed: int
    recipe: Recipe


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
    """

    name: str
    cells: tuple[Cell, ...]
    needs: str | None = None
    start: Recipe | None = None
    handed_on: bool = False
    taught_views: int = 0


# What is trained


def plan(task: ImageFolder, settings: Settings) -> list[Job]:
    """All jobs in the order they should start: the teacher, then the smallest student, seed by seed."""
    teacher = teacher_recipe(task, settings)
    jobs = [Job("teacher", (Cell(0, "fp", 32, 0, teacher),), taught_views=settings.views)]
    for student in sorted(settings.students, reverse=True):
        for seed in settings.seeds:
            jobs += student_jobs(task, settings, teacher, student, seed)
    # What needs no teacher fills the other workers while it is trained.
    return sorted(jobs, key=lambda job: job.needs is not None)


def teacher_recipe(task: ImageFolder, settings: Settings) -> Recipe:
    """The paper's teacher, trained from labels."""
    rates = tuple(round(settings.epoch_share * rate, 4) for rate in PAPER_TEACHER.dropout)
    return methods.full_precision(
        task,
        replace(PAPER_TEACHER, dropout=rates),
        epochs=round(TEACHER_LENGTH * settings.epochs),
        learning_rate=settings.learning_rate,
    )


def student_jobs(
    task: ImageFolder, settings: Settings, teacher: Recipe, student: int, seed: int
) -> list[Job]:
    """The trainings of one student from one seed."""
    model = STUDENTS[student]
    common: dict[str, Any] = {"learning_rate": settings.learning_rate, "seed": seed}
    epochs, points = settings.epochs, settings.points_epochs
    imitating = common | {"teacher_id": teacher.recipe_id, "teacher_views": settings.views}
    name = f"student {student}, seed {seed}"

    def cell(method: str, bits: int, recipe: Recipe) -> Cell:
        return Cell(student, method, bits, seed, recipe)

    normal = methods.full_precision(task, model, epochs=epochs, **common)
    distilled = methods.knowledge_distillation(task, model, epochs=epochs, **imitating)
    rounded = [
        cell(method, bits, rounded_afterwards(distilled, bits, bucket_size))
        for method, bucket_size in (("pm", None), ("pm256", BUCKET_SIZE))
        for bits in BITS
    ]
    jobs = [
        Job(f"{name}: fp", (cell("fp", 32, normal),)),
        Job(f"{name}: kd", (cell("kd", 32, distilled), *rounded), needs="teacher", handed_on=True),
    ]
    for bits in BITS:
        recipe = methods.quantized_distillation(
            task, model, epochs=epochs, bits=bits, bucket_size=BUCKET_SIZE, **imitating
        )
        jobs.append(Job(f"{name}: qd {bits} bits", (cell("qd", bits, recipe),), needs="teacher"))
    for bits in POINTS_BITS:
        recipe = methods.differentiable_quantization(
            task,
            model,
            epochs=epochs + points,
            points_epochs=points,
            points_learning_rate=POINTS_LEARNING_RATE,
            bits=bits,
            bucket_size=BUCKET_SIZE,
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


def rounded_afterwards(trained: Recipe, bits: int, bucket_size: int | None) -> Recipe:
    """The recipe of the same training whose weights are rounded at its end."""
    return replace(
        trained,
        method="post_training_quantization",
        quantizer=Uniform(bits, bucket_size, scale_dtype="float16"),
        exempt_dtype="float16",
    )


# Training one job


class KeptSources:
    """Teachers from the packed files of a run's folder, and their outputs, computed once and kept there."""

    def __init__(self, out: Path) -> None:
        self._out = out

    def network(self, recipe_id: str) -> nn.Module:
        """See :class:`trainables.teachers.base.Sources`."""
        return open_student((self._out / "cells" / f"{recipe_id}{SUFFIX}").read_bytes())[1]

    def outputs(self, recipe_id: str, views: int, task: LoadedTask) -> Mapping[str, Tensor]:
        """See :class:`trainables.teachers.base.Sources`."""
        path = self._out / "teacher" / f"{recipe_id}-{views}-{task.fingerprint()}.safetensors"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            write_file(path, safetensors.torch.save(remember(self.network(recipe_id), task, views)))
        return safetensors.torch.load(path.read_bytes())


def run_job(job: Job, settings: Settings, images: Path, out: Path) -> None:
    """Train, pack, measure and keep one job's files."""
    begin = time.perf_counter()
    trained = job.cells[0].recipe
    device = torch.device(settings.device)
    sources = KeptSources(out)
    loaded = trained.task.open(_arrays(trained.task, images), device, trained.seed)
    trainer = Trainer(trained, loaded, sources, device)
    if job.start is not None:
        continue_from(trainer, _state_of(out, job.start))
    while not trainer.finished:
        if job.handed_on and trainer.epoch == trained.epochs - 1:
            trainer.save(_state_of(out, trained))
        trainer.train_epoch()
    seconds = time.perf_counter() - begin
    with TemporaryDirectory() as folder:
        trainer.save(Path(folder))
        keep(job.cells[0], trainer.ship(), loaded, seconds, out)
        for cell in job.cells[1:]:
            other = Trainer(cell.recipe, loaded, sources, device)
            continue_from(other, Path(folder))
            keep(cell, other.ship(), loaded, seconds, out)
    if job.taught_views:
        sources.outputs(trained.recipe_id, job.taught_views, loaded)


def continue_from(trainer: Trainer, directory: Path) -> None:
    """Take over the checkpoint of another recipe whose training was the same up to there.

    What the other recipe does not have, such as a quantizer's points, stays as ``trainer`` built it.

    Raises:
        CheckpointError: the checkpoint does not fit the student.
    """
    with TemporaryDirectory() as folder:
        own = Path(folder)
        trainer.save(own)
        tensors = safetensors.torch.load((own / "state.safetensors").read_bytes())
        theirs = safetensors.torch.load((directory / "state.safetensors").read_bytes())
        tensors |= {name: value for name, value in theirs.items() if ".quantizer." not in name}
        facts = json.loads((own / "state.json").read_text())
        their_facts = json.loads((directory / "state.json").read_text())
        facts |= {key: their_facts[key] for key in ("epoch", "optimizer")}
        (own / "state.safetensors").write_bytes(safetensors.torch.save(tensors))
        (own / "state.json").write_text(json.dumps(facts))
        trainer.load(own)


def keep(cell: Cell, data: bytes, loaded: LoadedTask, seconds: float, out: Path) -> None:
    """Write a packed file and, after it, its numbers: the file of numbers completes the cell."""
    metric = cell.recipe.task.metric
    numbers = {
        "student": cell.student,
        "method": cell.method,
        "bits": cell.bits,
        "seed": cell.seed,
        "recipe_id": cell.recipe.recipe_id,
        "validation_accuracy": evaluate_file(data, loaded, "validation")[metric],
        "test_accuracy": evaluate_file(data, loaded, "test")[metric],
        "packed_bytes": len(data),
        "training_seconds": round(seconds, 1),
        "machine": machine(loaded.device),
    }
    write_file(_file_of(out, cell.recipe), data)
    write_file(_numbers_of(out, cell.recipe), (json.dumps(numbers, indent=1) + "\n").encode())


def machine(device: torch.device) -> dict[str, Any]:
    """What a reader needs to judge the times: processor, device and versions."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    versions = {package: version(package) for package in ("torch", "numpy")}
    return {**fingerprint(), "device": name, "python": platform.python_version(), **versions}


@functools.cache
def _arrays(task: ImageFolder, images: Path) -> Arrays:
    return task.load(images)


def _file_of(out: Path, recipe: Recipe) -> Path:
    return out / "cells" / f"{recipe.recipe_id}{SUFFIX}"


def _numbers_of(out: Path, recipe: Recipe) -> Path:
    return out / "cells" / f"{recipe.recipe_id}.json"


def _state_of(out: Path, recipe: Recipe) -> Path:
    return out / "states" / recipe.recipe_id


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


# The images


def prepare_images(source: Path, share: float, out: Path) -> Path:
    """The folder to train on: ``source`` itself, or a copy under ``out`` with fewer training images.

    Args:
        source: an image folder with ``train/<class>/`` in it, or a .tar.xz of one.
        share: of the training images of each class, in (0, 1]; all other images are kept.
        out: where archives are unpacked and copies are made, once.

    Raises:
        ValueError: ``source`` holds no such folder, or an archive that is not to be trusted.
    """
    folder = source if source.is_dir() else _unpacked(source, out)
    if not (folder / "train").is_dir():
        raise ValueError(f"{source} holds no folder train with one folder of images per class")
    if share >= 1.0:
        return folder
    chosen = out / f"images-{share:.6f}"
    if not chosen.exists():
        with TemporaryDirectory(dir=out) as beside:
            copy = Path(beside) / "images"
            for split in sorted(entry for entry in folder.iterdir() if entry.is_dir()):
                for label in sorted(entry for entry in split.iterdir() if entry.is_dir()):
                    (copy / split.name / label.name).mkdir(parents=True)
                    names = [file.name for file in label.iterdir() if file.is_file()]
                    for name in thinned(names, share) if split.name == "train" else names:
                        shutil.copyfile(label / name, copy / split.name / label.name / name)
            copy.rename(chosen)
    return chosen


def thinned(names: Iterable[str], share: float) -> list[str]:
    """The share of ``names`` whose hashes are smallest: fixed, and smaller shares lie within larger ones."""
    ordered = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    return ordered[: max(1, round(share * len(ordered)))]


def _unpacked(archive: Path, out: Path) -> Path:
    """The one folder in ``archive``, unpacked once under ``out``."""
    with archive.open("rb") as file:
        target = out / f"unpacked-{hashlib.file_digest(file, 'sha256').hexdigest()[:16]}"
    if not target.exists():
        with TemporaryDirectory(dir=out) as beside, tarfile.open(archive, "r:xz") as tar:
            # The filter refuses paths and links that lead out of the folder; sizes are ours to bound.
            files, size = 0, 0
            for member in tar:
                files, size = files + 1, size + member.size
                if files > MAX_ARCHIVE_FILES or size > MAX_ARCHIVE_BYTES:
                    raise ValueError(
                        f"{archive} holds more than {MAX_ARCHIVE_FILES} files or {MAX_ARCHIVE_BYTES} bytes"
                    )
                tar.extract(member, Path(beside) / "images", filter="data")
            (Path(beside) / "images").rename(target)
    entries = [entry for entry in target.iterdir() if entry.is_dir()]
    return entries[0] if len(entries) == 1 else target


# The table


def collect(jobs: Iterable[Job], out: Path) -> list[dict[str, Any]]:
    """The numbers of all cells that are done."""
    paths = [_numbers_of(out, cell.recipe) for job in jobs if is_done(job, out) for cell in job.cells]
    return [json.loads(path.read_text()) for path in paths]


def percent(cells: Iterable[Mapping[str, Any]], student: int, method: str, bits: int) -> dict[int, float]:
    """Test accuracy in percent by seed."""
    return {
        cell["seed"]: 100 * cell["test_accuracy"]
        for cell in cells
        if (cell["student"], cell["method"], cell["bits"]) == (student, method, bits)
    }


def published(student: int, method: str, bits: int) -> float:
    """The paper's accuracy in percent."""
    figures = PUBLISHED[student, method]
    return figures[0] if method in ("fp", "kd") else figures[BITS.index(bits)]


def orderings(cells: Sequence[Mapping[str, Any]], students: Iterable[int]) -> list[dict[str, Any]]:
    """What the paper's table says is better than what, each with the seeds that agree.

    Returns:
        Per student and claim, in the order of the claims: ``student``, ``claim``, ``seeds`` (that have
        both sides), ``agree`` (in which the first is better), ``mean_difference`` in points over the
        seeds (None without any), and ``published_difference``.
    """
    claims: list[tuple[tuple[str, int], tuple[str, int]]] = [(("kd", 32), ("fp", 32))]
    for bits in reversed(BITS):
        chain = [("kd", 32), ("qd", bits), ("pm256", bits), ("pm", bits)]
        claims += list(pairwise(chain))
    claims.append((("qd", 2), ("dq", 2)))
    rows = []
    for student in students:
        for better, worse in claims:
            ours, theirs = percent(cells, student, *better), percent(cells, student, *worse)
            differences = [ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())]
            rows.append(
                {
                    "student": student,
                    "claim": f"{_spell(*better)} > {_spell(*worse)}",
                    "seeds": len(differences),
                    "agree": sum(difference > 0 for difference in differences),
                    "mean_difference": statistics.fmean(differences) if differences else None,
                    "published_difference": published(student, *better) - published(student, *worse),
                }
            )
    return rows


def markdown(cells: Sequence[Mapping[str, Any]], students: Sequence[int]) -> str:
    """Accuracies, sizes and orderings as markdown tables, measured next to published."""
    teacher = percent(cells, 0, "fp", 32)
    lines = [
        f"Teacher: {_figure(list(teacher.values()))} % ({PUBLISHED_TEACHER} published).",
        "",
        "Test accuracy in percent, mean ± standard deviation over the seeds (published):",
        "",
        "| student | method | 2 bits | 4 bits | 8 bits | 32 bits |",
        "|---|---|---|---|---|---|",
    ]
    columns = (*BITS, 32)
    for student in students:
        for method, label in METHODS.items():
            row = [_entry(cells, student, method, bits) for bits in columns]
            lines.append(f"| {student} | {label} | {' | '.join(row)} |")
    lines += [
        "",
        "Packed bytes, mean over the seeds, everything counted:",
        "",
        "| student | method | 2 bits | 4 bits | 8 bits | 32 bits |",
        "|---|---|---|---|---|---|",
    ]
    for student in students:
        for method, label in METHODS.items():
            sizes = [_size(cells, student, method, bits) for bits in columns]
            lines.append(f"| {student} | {label} | {' | '.join(sizes)} |")
    lines += [
        "",
        "Orderings: seeds that agree, mean difference in points (published difference):",
        "",
        "| student | ordering | seeds | measured | published |",
        "|---|---|---|---|---|",
    ]
    for found in orderings(cells, students):
        difference = "-" if found["mean_difference"] is None else f"{found['mean_difference']:+.2f}"
        lines.append(
            f"| {found['student']} | {found['claim']} | {found['agree']} of {found['seeds']} "
            f"| {difference} | {found['published_difference']:+.2f} |"
        )
    return "\n".join(lines) + "\n"


def _entry(cells: Sequence[Mapping[str, Any]], student: int, method: str, bits: int) -> str:
    if not _exists(method, bits):
        return ""
    figures = percent(cells, student, method, bits)
    return f"{_figure(list(figures.values()))} ({published(student, method, bits):g})"


def _size(cells: Sequence[Mapping[str, Any]], student: int, method: str, bits: int) -> str:
    wanted = (student, method, bits)
    sizes = [c["packed_bytes"] for c in cells if (c["student"], c["method"], c["bits"]) == wanted]
    return f"{statistics.fmean(sizes):,.0f}" if sizes else ""


def _exists(method: str, bits: int) -> bool:
    """Whether the paper's table has such a cell."""
    if method in ("fp", "kd"):
        return bits == 32
    return bits in (POINTS_BITS if method == "dq" else BITS)


def _figure(values: Sequence[float]) -> str:
    if not values:
        return "-"
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{spread}"


def _spell(method: str, bits: int) -> str:
    return METHODS[method] if bits == 32 else f"{METHODS[method]}, {bits} bits"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing and write ``table.json`` and ``table.md``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="image folder, or a .tar.xz of one")
    parser.add_argument("--out", type=Path, required=True, help="folder of results; kept and continued")
    parser.add_argument("--budget", type=float, default=1.0, help="cost of a training, in (0, 1]")
    parser.add_argument("--students", type=int, nargs="+", default=[1, 2, 3], choices=sorted(STUDENTS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--device", choices=sorted(BATCH_SIZE), default="cpu")
    parser.add_argument("--workers", type=int, default=1, help="trainings at a time, each its own process")
    given = parser.parse_args(arguments)
    try:
        settings = Settings(tuple(given.students), tuple(given.seeds), given.budget, given.device)
        (given.out / "cells").mkdir(parents=True, exist_ok=True)
        images = prepare_images(given.data, settings.image_share, given.out)
        task = ImageFolder.scan(images, batch_size=settings.batch_size, padding=4, flip=True)
    except (DataError, OSError, ValueError, tarfile.TarError) as error:
        parser.error(str(error))
    jobs = plan(task, settings)
    run = functools.partial(run_job, settings=settings, images=images, out=given.out)
    print(f"{len(jobs)} trainings: {settings.epochs} epochs of {images}", flush=True)
    run_all(jobs, run, given.out, given.workers)
    cells = collect(jobs, given.out)
    report = {
        "settings": asdict(settings) | {"epochs": settings.epochs, "points_epochs": settings.points_epochs},
        "machine": machine(torch.device(settings.device)),
        "cells": cells,
        "orderings": orderings(cells, settings.students),
    }
    table = markdown(cells, settings.students)
    write_file(given.out / "table.json", (json.dumps(report, indent=1) + "\n").encode())
    write_file(given.out / "table.md", table.encode())
    print(table)


if __name__ == "__main__":
    main()
