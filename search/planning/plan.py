"""What a sweep would take: a dry run that times a few batches and trains nothing to its end."""

from __future__ import annotations

import itertools
import math
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import optuna
import torch
from torch import nn

from search.options import Options
from search.planning.limits import check_students, latency_of, smallest_student, untrained
from search.teaching.kept import cached_teacher, view_bytes
from spaces import Context, Space
from studies.study import Study
from trainables.exporting.export import ExportError
from trainables.metrics.macs import macs
from trainables.origins import Fresh
from trainables.recipe import Recipe
from trainables.shipping.evaluation import open_student
from trainables.tasks.base import SPLITS, Batch, LoadedTask
from trainables.tasks.notes import DataNotes
from trainables.teachers.remembered import different_views
from trainables.teachers.sources import LocalSources
from trainables.training.trainer import Trainer

BATCHES = 8
"""Timed of an epoch; what is left is as fast as these."""

START_SECONDS = 15.0
"""Ray, MLflow's database and the first trial's process, as measured on two cores."""

TRIAL_SECONDS = 0.1
"""Of every trial, for searcher, tracking and reset, as measured (benchmarks/trial_overhead.py)."""

PROCESS_BYTES = 400_000_000
"""Resident memory of a process with torch and Ray, as measured; Ray itself takes as much as three."""

RECORD_BYTES = 40_000
"""Of a trial in MLflow's database and artifacts, beside its packed file."""

FRONT = 10
"""Students that are measured again at the end, about."""


@dataclass(frozen=True)
class Resources:
    """Bytes: what a sweep needs, and what there is.

    Attributes:
        disk_needed: in the store.
        disk_free: there.
        memory_needed: of this machine.
        memory_free: of this machine.
    """

    disk_needed: float
    disk_free: float
    memory_needed: float
    memory_free: float

    @property
    def short(self) -> tuple[str, ...]:
        """What there is too little of: ``disk``, ``memory``."""
        wanted = {
            "disk": (self.disk_needed, self.disk_free),
            "memory": (self.memory_needed, self.memory_free),
        }
        return tuple(name for name, (needed, free) in wanted.items() if needed > free)


@dataclass(frozen=True)
class Plan:
    """What a sweep would take on this machine. Times are in seconds, sizes in bytes.

    Attributes:
        study: its name.
        metric: its quality's.
        device: ``cpu`` or ``cuda``.
        samples: by split.
        data_bytes: of all splits.
        trials: asked for.
        epochs: of each.
        concurrency: trials at a time on a node.
        nodes: like this machine.
        smallest_bytes: of the packed file of the smallest student, untrained.
        largest_bytes: of the largest.
        teacher_bytes: of the teacher.
        smallest_epoch: training and measuring one epoch of the smallest student.
        largest_epoch: of the largest.
        trial: a trial on average, with what follows its last epoch.
        start: before the first trial: Ray, the teacher's training and its answers.
        teacher: of ``start``, training the teacher; 0 if an earlier sweep kept it.
        outputs: of ``start``, asking the teacher about all samples.
        end: measuring the front.
        resources: disk and memory.
        not_counted: what the figures leave out, if anything.
        notes: what was found about the user's data.
    """

    study: str
    metric: str
    device: str
    samples: dict[str, int]
    data_bytes: int
    trials: int
    epochs: int
    concurrency: int
    nodes: int
    smallest_bytes: int
    largest_bytes: int
    teacher_bytes: int
    smallest_epoch: float
    largest_epoch: float
    trial: float
    start: float
    teacher: float
    outputs: float
    end: float
    resources: Resources
    not_counted: str
    notes: DataNotes

    @property
    def seconds(self) -> float:
        """The whole sweep."""
        return self.start + self.trials * self.between_trials + self.end

    @property
    def between_trials(self) -> float:
        """From one trial's end to the next one's, over all nodes."""
        return self.trial / (self.concurrency * self.nodes)

    def fitting(self, hours: float) -> int:
        """How many trials fit in so many hours; 0 if not one does."""
        return max(0, math.floor((3600 * hours - self.start - self.end) / self.between_trials))

    def cost(self, price: float) -> float:
        """Of the whole sweep, at ``price`` per node and hour."""
        return self.seconds / 3600 * self.nodes * price


def make_plan(study: Study, options: Options, nodes: int) -> Plan:
    """Time the pieces of a sweep on this machine and add them up. Nothing is written.

    The methods' starting points are timed at the study's own size of students, phase by phase, on a few
    batches. An epoch of another size is interpolated by multiply-adds between the smallest and the largest.
    Where the teacher's outputs will be remembered, its forward pass is taken off again.

    Args:
        study: to be searched.
        options: of the sweep.
        nodes: of the cluster, each like this machine.

    Raises:
        Problem: the sweep would be refused.
        DataError: the data is not usable.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    task, notes = study.examine(options.data, options.about_data)
    arrays = task.load(options.data, download=options.download)
    here = task.open(arrays, torch.device("cpu"), 0)
    teacher_recipe = study.teacher_recipe(task)
    context = study.context(task, teacher_recipe.recipe_id, options.seed)
    check_students(study.space, context, here, options.budget)

    opened = task.open(arrays, device, 0)
    processors = os.cpu_count() or 1
    gpus = torch.cuda.device_count() if device.type == "cuda" else 0
    concurrency = options.concurrency or (2 * gpus if gpus else processors)
    smallest, _ = smallest_student(study.space, context, here)
    largest = max(study.space.largest(context), key=lambda recipe: len(untrained(recipe, here)))
    kept = cached_teacher(options.store, teacher_recipe)
    teacher_file = kept or untrained(teacher_recipe, here)

    timer = _Timer(opened, teacher_file, device)
    threads = torch.get_num_threads()
    torch.set_num_threads(study.teacher_threads or processors)
    try:
        teaching = 0.0 if kept is not None else timer.training(teacher_recipe)
        answer = timer.answer()
    finally:
        torch.set_num_threads(1)
    try:
        live = timer.answer()
        live_context = replace(context, teacher_views=None)
        points = [
            study.space(optuna.trial.FixedTrial(point), live_context)
            for point in study.space.starting_points(context)
        ]
        ends = {recipe.model: timer.end(recipe) for recipe in (smallest, largest, points[0])}
        # Two recipes without a teacher, which differ in size alone.
        extremes = [replace(points[0], origin=Fresh(recipe.model)) for recipe in (smallest, largest)]
        epochs = [timer.epoch(recipe) for recipe in extremes]
        counted = study.teacher_views is not None
        first = [timer.trial(replace(point, task=task), live if counted else 0.0) for point in points]
    finally:
        torch.set_num_threads(threads)
    at_size = float(np.mean(first)) + ends[points[0].model] + TRIAL_SECONDS
    scale = _mean_of_sizes(study.space, context, epochs) / timer.epoch(points[0])
    other = float(np.mean(first)) * scale + float(np.mean(list(ends.values()))) + TRIAL_SECONDS
    given = min(len(points), options.trials)
    trial = (given * at_size + (options.trials - given) * other) / options.trials
    busy = max(1.0, concurrency / processors) if not gpus else 1.0  # more trials than processors share them

    asked = study.teacher_views is not None and study.space.imitates(context)
    views = different_views(study.teacher_views or 0, opened) if asked else 0
    outputs = views * opened.steps("train") * answer
    sizes = [len(untrained(recipe, here)) for recipe in (smallest, largest)]
    weights = sum(p.numel() for p in largest.model.build(task.input_shape, task.outputs).parameters())
    data_bytes = sum(array.nbytes for array in arrays.values())
    remembered = views * view_bytes(opened, task.outputs)
    resources = Resources(
        disk_needed=len(teacher_file)
        + remembered
        + options.trials * (2 * sizes[1] + RECORD_BYTES)
        # Of each trial a checkpoint: weights and two moments, in float32, and as much beside. Those of
        # trials that were ended early stay until the sweep has finished.
        + options.trials * 16 * weights,
        disk_free=shutil.disk_usage(_existing(options.store)).free,
        memory_needed=(concurrency + 3) * PROCESS_BYTES
        + concurrency * 24 * weights
        + 2 * data_bytes
        + remembered,
        memory_free=_memory_free(),
    )
    return Plan(
        study=study.name,
        metric=task.metric,
        device=device.type,
        samples={split: here.samples(split) for split in SPLITS},
        data_bytes=data_bytes,
        trials=options.trials,
        epochs=study.epochs,
        concurrency=concurrency,
        nodes=nodes,
        smallest_bytes=sizes[0],
        largest_bytes=sizes[1],
        teacher_bytes=len(teacher_file),
        smallest_epoch=epochs[0],
        largest_epoch=epochs[1],
        trial=trial * busy,
        start=START_SECONDS + teaching + outputs,
        teacher=teaching,
        outputs=outputs,
        end=min(FRONT, options.trials)
        * (timer.evaluation(points[0]) + 3 * ends[points[0].model])
        / concurrency,
        resources=resources,
        not_counted="letting the teacher make training data" if study.space.taught(context) else "",
        notes=notes,
    )


class _Few:
    """A loaded task whose epochs are their first :data:`BATCHES` batches."""

    def __init__(self, task: LoadedTask) -> None:
        self._task = task

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def batches(self, split: str, epoch: int, view: int | None = None) -> Iterator[Batch]:
        return itertools.islice(self._task.batches(split, epoch, view), BATCHES)

    def steps(self, split: str) -> int:
        return min(BATCHES, self._task.steps(split))


class _Timer:
    """Times pieces of training on ``device``, in seconds."""

    def __init__(self, task: LoadedTask, teacher_file: bytes, device: torch.device) -> None:
        self._task = task
        self._few = cast(LoadedTask, _Few(task))
        self._device = device
        self._teacher: nn.Module = open_student(teacher_file)[1].to(device)
        self._sources = LocalSources(lambda recipe_id: self._teacher)
        self._share = task.steps("train") / self._few.steps("train")
        self._epochs: dict[str, float] = {}

    def answer(self) -> float:
        """The teacher on one batch."""
        batches = list(self._few.batches("train", 0))
        with torch.no_grad():
            self._teacher(batches[0].inputs)  # the first call allocates
            begun = self._now()
            for batch in batches:
                self._teacher(batch.inputs)
            return (self._now() - begun) / len(batches)

    def training(self, recipe: Recipe) -> float:
        """All epochs of all phases of ``recipe``, without measuring the student in between."""
        short = replace(recipe, phases=tuple(replace(p, epochs=min(p.epochs, 1)) for p in recipe.phases))
        trainer = Trainer(short, self._few, self._sources, self._device)
        total = 0.0
        for phase in recipe.phases:
            if phase.epochs:
                begun = self._now()
                trainer.train_epoch()
                total += phase.epochs * self._share * (self._now() - begun)
        return total

    def epoch(self, recipe: Recipe) -> float:
        """One epoch of ``recipe``, on average over its phases, and measuring the student after it."""
        if recipe.recipe_id not in self._epochs:
            seconds = self.training(recipe) / recipe.epochs + self.evaluation(recipe)
            self._epochs[recipe.recipe_id] = seconds
        return self._epochs[recipe.recipe_id]

    def trial(self, recipe: Recipe, answer: float) -> float:
        """All epochs of ``recipe`` with their measurements.

        Args:
            recipe: with its teacher asked at every step, if it has one.
            answer: what is not to be counted of each step of such a recipe.
        """
        steps = recipe.epochs * self._task.steps("train") if recipe.losses else 0
        return max(0.0, recipe.epochs * self.epoch(recipe) - steps * answer)

    def evaluation(self, recipe: Recipe) -> float:
        """Packing the untrained student, opening the file and evaluating it on validation."""
        trainer = Trainer(recipe, self._few, self._sources, self._device)
        begun = self._now()
        _, student = open_student(trainer.ship())
        self._task.evaluate(student.to(self._device), "validation")
        return self._now() - begun

    def end(self, recipe: Recipe) -> float:
        """What follows a trial's last epoch: exporting the student and timing it."""
        data = Trainer(
            replace(recipe, origin=Fresh(recipe.model)), self._few, self._sources, self._device
        ).ship()
        begun = self._now()
        with suppress(ExportError):  # what it takes to find that out
            latency_of(data)
        return self._now() - begun

    def _now(self) -> float:
        """A clock: on a GPU the time of day, with its work done; else processor time by thread.

        The latter is what a machine takes that has nothing else to do, whatever else it does now.
        """
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            return time.perf_counter()
        return time.process_time() / torch.get_num_threads()


def _mean_of_sizes(space: Space, context: Context, epochs: list[float]) -> float:
    """Seconds of an epoch, averaged over depths and widths as they are drawn at random.

    Args:
        space: of the students.
        context: of the sweep.
        epochs: seconds of the smallest and of the largest student.
    """
    task, ends = context.task, space.sizes(context)
    low, high = map(math.log, ends["width"])
    depths = range(int(ends["depth"][0]), int(ends["depth"][1]) + 1)
    widths = [math.exp(low + share * (high - low)) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    counts = np.array(
        [
            [
                macs(
                    context.student.scaled(depth=depth, width=width).build(task.input_shape, task.outputs),
                    task.interface,
                )
                for width in widths
            ]
            for depth in depths
        ],
        dtype=float,
    )
    shares = (counts - counts[0, 0]) / max(counts[-1, -1] - counts[0, 0], 1.0)
    weights = np.array([1, 2, 2, 2, 1]) / 8  # the trapezoidal rule
    return float(epochs[0] + (epochs[1] - epochs[0]) * (shares @ weights).mean())


def _existing(folder: Path) -> Path:
    """``folder``, or the nearest above it that is there."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def _memory_free() -> float:
    """Bytes that programs can have without swapping, as Linux counts them."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    [available] = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return 1024.0 * int(available)
