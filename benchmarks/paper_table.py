"""The CIFAR-10 table of the quantized distillation paper (Polino et al. 2018), rerun in shape.

A full-precision teacher, then for each student and seed: full precision from labels, full precision
distilled, that distilled student rounded afterwards without and with buckets of 256 (the paper's
"post-mortem"), quantized distillation (QD), and differentiable quantization (DQ) that starts from the
distilled student. Every number is measured on the packed file. The test split is read once per final
file and decides nothing; validation is split off the training images.

    python -m benchmarks.paper_table --data cifar10-images.tar.xz --budget 0.01 --out table/

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
import math
import shutil
import tarfile
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.jobs import (
    FULL_PRECISION,
    TEACHER,
    Job,
    Settings,
    Training,
    add_arguments,
    collect,
    in_starting_order,
    machine,
    run_all,
    run_job,
    student_jobs,
    teacher_job,
    thinned,
)
from benchmarks.report import Layout, chain, markdown, write_report
from trainables import methods
from trainables.metrics import quality_of
from trainables.models.base import Model
from trainables.models.convnet import PAPER_STUDENT_1, PAPER_STUDENT_2, PAPER_STUDENT_3, PAPER_TEACHER
from trainables.optimizers import AdamW
from trainables.origins import Fresh
from trainables.recipe import Recipe
from trainables.tasks import ImageFolder
from trainables.tasks.base import DataError

STUDENTS: dict[int, Model] = {1: PAPER_STUDENT_1, 2: PAPER_STUDENT_2, 3: PAPER_STUDENT_3}
BITS = (2, 4, 8)
POINTS_BITS = (2, 4)

FULL_EPOCHS = 200
"""Of every training at budget 1; the paper trains twice 200 epochs, the second time from the first's end."""
FULL_POINTS_EPOCHS = 20
"""Of moving DQ's points at budget 1, the paper's number at 2 bits."""
TEACHER_LENGTH = 1.5
"""Epochs of the teacher over a student's."""
BATCH_SIZE = {"cpu": 64, "cuda": 512}
"""Images per step: enough of them to fill the device, few enough for a short training."""
LEARNING_RATE = 1e-3
"""Of AdamW at batch 64; grows with the root of the batch size, which keeps its noise the same."""
POINTS_LEARNING_RATE = 1e-4
TEMPERATURE = 2.0

MAX_ARCHIVE_FILES = 200_000
MAX_ARCHIVE_BYTES = 2**32

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
"""Accuracy in percent as printed in the paper, per (student, method) in the order of the method's bits."""

ROWS = {
    "fp": (FULL_PRECISION,),
    "kd": (FULL_PRECISION,),
    "pm": BITS,
    "pm256": BITS,
    "qd": BITS,
    "dq": POINTS_BITS,
}
LAYOUT = Layout(
    quality_of("accuracy"),
    ROWS,
    (*chain(BITS), (("qd", 2), ("dq", 2))),
    {(TEACHER, "fp", FULL_PRECISION): PUBLISHED_TEACHER}
    | {
        (student, method, bits): figure
        for (student, method), figures in PUBLISHED.items()
        for bits, figure in zip(ROWS[method], figures, strict=True)
    },
)


# What is trained


def training(settings: Settings) -> Training:
    """How students are trained; no epoch of the longest training repeats a view of the teacher's."""
    epochs = max(2, round(FULL_EPOCHS * settings.epoch_share))
    points_epochs = max(1, round(FULL_POINTS_EPOCHS * settings.epoch_share))
    return Training(
        epochs,
        points_epochs,
        LEARNING_RATE * math.sqrt(BATCH_SIZE[settings.device] / BATCH_SIZE["cpu"]),
        POINTS_LEARNING_RATE,
        views=epochs + points_epochs,
        bits=BITS,
        points_bits=POINTS_BITS,
        temperature=TEMPERATURE,
    )


def plan(task: ImageFolder, settings: Settings) -> list[Job]:
    """All jobs in the order they should start: the teacher, then the smallest student, seed by seed."""
    how = training(settings)
    teacher = teacher_recipe(task, settings, how)
    jobs = [teacher_job(teacher, how.views)]
    for student in sorted(settings.students, reverse=True):
        for seed in settings.seeds:
            jobs += student_jobs(task, STUDENTS[student], teacher, how, student, seed)
    return in_starting_order(jobs)


def teacher_recipe(task: ImageFolder, settings: Settings, how: Training) -> Recipe:
    """The paper's teacher, trained from labels."""
    rates = tuple(round(settings.epoch_share * rate, 4) for rate in PAPER_TEACHER.dropout)
    return methods.full_precision(
        methods.Setting(
            task, Fresh(replace(PAPER_TEACHER, dropout=rates)), epochs=round(TEACHER_LENGTH * how.epochs)
        ),
        optimizer=AdamW(how.learning_rate),
    )


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
                    if split.name == "train":
                        names = [names[i] for i in thinned(names, share)]
                    for name in names:
                        shutil.copyfile(label / name, copy / split.name / label.name / name)
            copy.rename(chosen)
    return chosen


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


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is missing and write ``table.json`` and ``table.md``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser, tuple(STUDENTS), "image folder, or a .tar.xz of one")
    given = parser.parse_args(arguments)
    try:
        settings = Settings(tuple(given.students), tuple(given.seeds), given.budget, given.device)
        (given.out / "cells").mkdir(parents=True, exist_ok=True)
        images = prepare_images(given.data, settings.data_share, given.out)
        task = ImageFolder.scan(images, batch_size=BATCH_SIZE[settings.device], padding=4, flip=True)
    except (DataError, OSError, ValueError, tarfile.TarError) as error:
        parser.error(str(error))
    how, jobs, device = training(settings), plan(task, settings), torch.device(settings.device)
    run = functools.partial(run_job, data=images, device=device, out=given.out)
    print(f"{len(jobs)} trainings: {how.epochs} epochs of {images}", flush=True)
    run_all(jobs, run, given.out, given.workers)
    cells = collect(jobs, given.out)
    facts = {
        "settings": asdict(settings) | {"epochs": how.epochs, "points_epochs": how.points_epochs},
        "machine": machine(device),
    }
    students = {number: str(number) for number in settings.students}
    write_report(given.out, facts, cells, LAYOUT, students, markdown(cells, LAYOUT, students))


if __name__ == "__main__":
    main()
