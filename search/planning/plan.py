"""What a sweep would take: a dry run that times a few batches and trains nothing to its end."""

from __future__ import annotations

import math
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from search.options import Options
from search.planning.activations import activation_bytes
from search.planning.compute import with_compute
from search.planning.limits import check_students, untrained
from search.planning.mark_time import time_mark
from search.planning.timing import Ends, Timer, time_teacher, time_trials
from search.teaching.along import files_kept, has_route
from search.teaching.kept import (
    cached_teacher,
    feature_sizes,
    features_that_fit,
    lacking_features,
    view_bytes,
    views_that_fit,
)
from spaces import Context
from studies.study import Study
from trainables.data.datasets import memory_free
from trainables.data.kept import KeptArrays
from trainables.metrics import quality_of
from trainables.recipe import Recipe
from trainables.tasks.base import SPLITS, LoadedTask
from trainables.tasks.notes import DataNotes
from trainables.teachers.remembered import different_views

START_SECONDS = 15.0
"""Ray, MLflow's database and the first trial's process, as measured on two cores."""

PROCESS_BYTES = 400_000_000
"""Resident memory of a process with torch and Ray, as measured; Ray itself takes as much as three."""

RECORD_BYTES = 40_000
"""Of a trial in MLflow's database and artifacts, beside its packed file."""

SHARE_OF_RAY = 0.3
"""Of the free memory, that Ray takes for what processes share, as far as /dev/shm has room."""

BEGUN = 3
"""Trials to a training where these are counted, at most about: 2.4 in searches of the recorded digits
that ended trials early. Where nothing is ended there are fewer."""

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
        activation_bytes: what a training step of the largest student keeps of its layers, in each trial.
        trials: asked for; where ``trainings`` are, at most.
        trainings: asked for: the compute of so many whole trials; None counts trials.
        epochs: of each; the most, where ``compute`` says how many.
        compute: that a student with trained weights has, in epochs of the whole network; None gives it all
            epochs.
        concurrency: trials at a time on a node.
        nodes: like this machine.
        smallest_bytes: of the packed file of the smallest student, untrained.
        largest_bytes: of the largest.
        teacher_bytes: of the teacher.
        smallest_epoch: training and measuring one epoch of the smallest student.
        largest_epoch: of the largest.
        trial: a trial on average, with what follows its last epoch.
        start: before the first trial: Ray and the teacher's training.
        teacher: of ``start``, training the teacher; 0 if an earlier sweep kept it, or if it is as given.
        given: whether the teacher is the user's network as it is, which nobody trains.
        outputs: asking the teacher about all samples, which the first trial does that needs it, while others
            train; 0 where its answers are not remembered.
        views: in how many views of the data its answers are remembered; 0 where they are not.
        views_bytes: what these answers take in memory and on disk.
        asking: in each epoch, asking it at every step; 0 where it is not asked there.
        streamed: why the training split is read in every epoch anew; empty where it is kept.
        reading: of each epoch, reading it; 0 where it is kept.
        mark: having ONNX Runtime quantize the teacher, and measuring that.
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
    trainings: int | None
    epochs: int
    compute: float | None
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
    given: bool
    outputs: float
    views: int
    views_bytes: int
    asking: float
    streamed: str
    reading: float
    mark: float
    end: float
    resources: Resources
    activation_bytes: int
    not_counted: str
    notes: DataNotes

    @property
    def seconds(self) -> float:
        """The whole sweep."""
        whole = self.trials if self.trainings is None else self.trainings
        return self._once + whole * self.between_trials

    @property
    def _once(self) -> float:
        """What is done once; the teacher's answers as if nobody trained beside them."""
        return self.start + self.outputs + self.mark + self.end

    @property
    def between_trials(self) -> float:
        """From one trial's end to the next one's, over all nodes."""
        return self.trial / (self.concurrency * self.nodes)

    def fitting(self, hours: float) -> int:
        """How many whole trials fit in so many hours; 0 if not one does."""
        return max(0, math.floor((3600 * hours - self._once) / self.between_trials))

    def cost(self, price: float) -> float:
        """Of the whole sweep, at ``price`` per node and hour."""
        return self.seconds / 3600 * self.nodes * price


def make_plan(study: Study, options: Options, nodes: int) -> Plan:
    """Time the pieces of a sweep on this machine and add them up.

    Nothing is written but decoded data into the store, which the sweep then uses.

    All the methods' starting points, also where a search begins with some, are timed at the study's own size
    of students, phase by phase, on a few batches. An epoch of another size is interpolated by multiply-adds
    between the smallest and the largest.
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
    options.yardstick(quality_of(task.metric))
    arrays = study.read(task, options.data, options.store, _tell_nobody, download=options.download)
    here = task.open(arrays, torch.device("cpu"), 0)
    teacher_recipe = study.teacher_recipe(task)
    context, features = _context(study, options, here, teacher_recipe)
    views, imitated = context.teacher_views, study.space.imitates(context)

    kept = cached_teacher(options.store, teacher_recipe)
    given = teacher_recipe.epochs == 0
    teacher_file = kept or untrained(teacher_recipe, here)
    ends = Ends.of(study.space, context, here)
    timer = Timer(task.open(arrays, device, 0), teacher_file, device, study.given)
    whole = kept is not None and has_route(study.space, context, options.store, teacher_recipe, kept)
    training = time_teacher(timer, study, None if given or whole else teacher_recipe)
    times = time_trials(timer, study, context, ends)

    concurrency, busy = _concurrency(options, device)
    steps = here.steps("train")
    remembered = (views or 0) * (view_bytes(here, task.outputs) + features)
    outputs = (views or 0) * steps * times.answer
    data_bytes = sum(array.nbytes for array in arrays.values())
    activations = _activations(ends.largest, here)
    return Plan(
        study=study.name,
        metric=task.metric,
        device=device.type,
        samples={split: here.samples(split) for split in SPLITS},
        data_bytes=data_bytes,
        trials=options.trials,
        trainings=options.trainings,
        epochs=study.epochs,
        compute=context.compute,
        concurrency=concurrency,
        nodes=nodes,
        smallest_bytes=ends.smallest_bytes,
        largest_bytes=ends.largest_bytes,
        teacher_bytes=len(teacher_file),
        smallest_epoch=times.smallest_epoch,
        largest_epoch=times.largest_epoch,
        trial=times.trial(options.trials) * busy,
        start=START_SECONDS + training,
        teacher=training,
        given=given,
        outputs=outputs,
        views=views or 0,
        views_bytes=remembered,
        asking=steps * times.answer if imitated and views is None else 0.0,
        streamed=study.streamed,
        reading=timer.reading() if study.streamed else 0.0,
        mark=time_mark(teacher_file, here),
        end=min(FRONT, options.trials) * times.measuring / concurrency,
        resources=_resources(
            options,
            concurrency,
            ends,
            # Kept data are mapped: their pages are the kernel's, which takes them back where memory is short.
            (0 if isinstance(arrays, KeptArrays) else data_bytes) + concurrency * activations,
            len(teacher_file) * files_kept(study.space, context, teacher_recipe),
            remembered,
        ),
        activation_bytes=activations,
        not_counted="letting the teacher make training data" if study.space.taught(context) else "",
        notes=notes,
    )


def _context(study: Study, options: Options, here: LoadedTask, teacher: Recipe) -> tuple[Context, int]:
    """What students are drawn for, and bytes of the teacher's inner features kept for each view.

    Raises:
        Problem: no student can be within the limits.
    """
    context = study.context(teacher.task, teacher.recipe_id, options.seed)
    context = with_compute(context, study, options.compute, _tell_nobody)
    check_students(study.space, context, here, options.budget)
    if lacking := lacking_features(study.space, context, teacher, here):
        context = replace(context, lacking_features=lacking)
        check_students(study.space, context, here, options.budget)
    if not study.space.imitates(context):
        return replace(context, teacher_views=None, live_features=()), 0
    views, features, live = _remembered(study, here, context, teacher)
    return replace(context, teacher_views=views, live_features=live), features


def _concurrency(options: Options, device: torch.device) -> tuple[int, float]:
    """Trials at a time on a node, and how many of them share a processor."""
    processors = os.cpu_count() or 1
    gpus = torch.cuda.device_count() if device.type == "cuda" else 0
    concurrency = options.concurrency or (2 * gpus if gpus else processors)
    return concurrency, max(1.0, concurrency / processors) if not gpus else 1.0


def _remembered(
    study: Study, here: LoadedTask, context: Context, teacher: Recipe
) -> tuple[int | None, int, tuple[str, ...]]:
    """What will be remembered of the teacher.

    Returns:
        In how many views, None where it is asked at every step; the bytes of its inner features in one view;
        and the places whose features are too large.
    """
    outputs = context.task.outputs
    shared = SHARE_OF_RAY * min(memory_free(), shutil.disk_usage("/dev/shm").free / SHARE_OF_RAY)
    views = None
    if study.views is not None:
        views = views_that_fit(different_views(study.views, here), view_bytes(here, outputs), shared)
    places = study.space.looks_at(context)
    sizes = feature_sizes(teacher, here, places) if places else {}
    kept = features_that_fit(sizes, views, here.samples("train"), view_bytes(here, outputs), shared)
    return views, sum(sizes[place] or 0 for place in kept), tuple(p for p in places if p not in kept)


def _resources(
    options: Options, concurrency: int, ends: Ends, held_bytes: int, teacher_bytes: int, remembered: int
) -> Resources:
    """What the sweep needs of disk and memory.

    Args:
        options: of the sweep.
        concurrency: trials at a time.
        ends: the smallest and the largest student.
        held_bytes: of data in memory, and of layers during a step, each of which comes twice: the data as
            they are read and for trials, what layers keep and its gradients.
        teacher_bytes: of the teacher's files.
        remembered: bytes of the teacher's outputs.
    """
    begun = options.trials
    if options.trainings is not None:
        begun = min(begun, BEGUN * options.trainings)
    return Resources(
        disk_needed=teacher_bytes
        + remembered
        + begun * ends.mean_together * (2 * ends.largest_bytes + RECORD_BYTES)
        # Of each trial a checkpoint: weights and two moments, in float32, and as much beside. Those of
        # trials that were ended early stay until the sweep has finished.
        + begun * ends.mean_together * 16 * ends.largest_weights
        # And its first phases, in which students of other settings may begin: the weights alone.
        + min(options.phase_bytes, begun * 4 * ends.largest_weights),
        disk_free=shutil.disk_usage(_existing(options.store)).free,
        memory_needed=(concurrency + 3) * PROCESS_BYTES
        + concurrency * ends.most_together * 24 * ends.largest_weights
        + 2 * held_bytes
        + remembered,
        memory_free=memory_free(),
    )


def _activations(largest: Recipe, task: LoadedTask) -> int:
    """Bytes that a step of training the ``largest`` student keeps of its layers."""
    with torch.random.fork_rng(devices=[]):
        return activation_bytes(largest.build(), next(iter(task.batches("train", 0))).inputs)


def _tell_nobody(text: str) -> None:
    """A plan is one table."""


def _existing(folder: Path) -> Path:
    """``folder``, or the nearest above it that is there."""
    return next(path for path in (folder, *folder.parents) if path.exists())
