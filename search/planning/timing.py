"""Times pieces of a sweep on this machine: a few batches, an epoch, a trial, the teacher."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import optuna
import torch
from scipy.stats import qmc
from torch import Tensor, nn

from search.planning.limits import cost_before, smallest_student, untrained
from spaces import Context, Space
from spaces.architectures import resized
from spaces.compute import epochs_for
from spaces.space import Opened
from studies.study import Study
from trainables.calling import call
from trainables.exporting.checking import ExportError
from trainables.metrics.macs import macs
from trainables.origins.base import Origin
from trainables.recipe import Recipe
from trainables.shipping.evaluation import open_student
from trainables.tasks.base import Batch, LoadedTask
from trainables.teachers.sources import LocalSources
from trainables.training.trainer import Trainer

BATCHES = 8
"""Timed of an epoch; what is left is as fast as these."""

SIZES, FEWER_SIZES = 16, 5
"""Of students, of which an epoch's mean is taken; fewer where each has to be cut out of a network."""

TRIAL_SECONDS = 0.1
"""Of every trial, for searcher, tracking and reset, as measured (benchmarks/trial_overhead.py)."""


@dataclass(frozen=True)
class Ends:
    """The ends of a space: its smallest and its largest student, untrained.

    Attributes:
        smallest: recipe.
        largest: recipe.
        smallest_bytes: of the packed file.
        largest_bytes: of the packed file.
        largest_weights: how many the largest has.
        most_together: students of one trial, at most.
        mean_together: students of one trial, as the methods' defaults have them, averaged over methods.
    """

    smallest: Recipe
    largest: Recipe
    smallest_bytes: int
    largest_bytes: int
    largest_weights: int
    most_together: int
    mean_together: float

    @classmethod
    def of(cls, space: Space, context: Context, task: LoadedTask) -> Ends:
        """Of the students of ``space`` on ``task``, on the CPU."""
        smallest, smallest_bytes = smallest_student(space, context, task)
        packed = {recipe: len(untrained(recipe, task)) for recipe in space.largest(context)}
        largest, largest_bytes = max(packed.items(), key=lambda item: item[1])
        _, network = largest.origin.outline(context.task, task)
        weights = sum(p.numel() for p in network.parameters())
        together = [len(recipe.students) for recipe in space.opened(context).defaults.values()]
        mean = sum(together) / len(together)
        return cls(smallest, largest, smallest_bytes, largest_bytes, weights, max(together), mean)


Given = Mapping[str, Mapping[str, Tensor]]
"""Weights of users' networks by their digest."""


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


class Timer:
    """Times pieces of training on ``device``, in seconds."""

    def __init__(
        self, task: LoadedTask, teacher_file: bytes, device: torch.device, given: Given | None = None
    ) -> None:
        self._task = task
        self._few = cast(LoadedTask, _Few(task))
        self._device = device
        recipe, network = open_student(teacher_file)
        self._teacher_id = recipe.recipe_id
        self._teacher: nn.Module = network.to(device)
        self._sources = LocalSources(
            lambda recipe_id: self._teacher, given, lambda recipe_id: {1: self._teacher}
        )
        self._share = task.steps("train") / self._few.steps("train")
        self._epochs: dict[str, float] = {}

    @property
    def task(self) -> LoadedTask:
        """Whose training is timed."""
        return self._task

    def answer(self) -> float:
        """The teacher on one batch."""
        batches = list(self._few.batches("train", 0))
        with torch.no_grad():
            call(self._teacher, batches[0].inputs)  # the first call allocates
            begun = self._now()
            for batch in batches:
                call(self._teacher, batch.inputs)
            return (self._now() - begun) / len(batches)

    def reading(self) -> float:
        """One epoch's batches of the training split, without training on them."""
        begun = time.perf_counter()  # worker processes read, whose processor time is not this one's
        for _ in self._few.batches("train", 0):
            pass
        return self._share * (time.perf_counter() - begun)

    def training(self, recipe: Recipe) -> float:
        """All epochs of all phases of ``recipe``, without measuring the student in between."""
        trainer = Trainer(recipe.changed(_shortened), self._few, self._sources, self._device)
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
            seconds = self.training(recipe) / max(1, recipe.epochs) + self.evaluation(recipe)
            self._epochs[recipe.recipe_id] = seconds
        return self._epochs[recipe.recipe_id]

    def trial(self, recipe: Recipe, answer: float) -> float:
        """All epochs of ``recipe`` with their measurements.

        Args:
            recipe: with its teacher asked at every step, if it has one.
            answer: what is not to be counted of each step of such a recipe.
        """
        steps = recipe.epochs * self._task.steps("train") if recipe.asks(self._teacher_id) else 0
        return max(0.0, max(1, recipe.epochs) * self.epoch(recipe) - steps * answer)

    def evaluation(self, recipe: Recipe) -> float:
        """Packing the untrained student, opening the file and evaluating it on validation."""
        trainer = Trainer(recipe, self._few, self._sources, self._device)
        begun = self._now()
        _, student = open_student(trainer.ship())
        self._task.evaluate(student.to(self._device), "validation")
        return self._now() - begun

    def end(self, recipe: Recipe) -> float:
        """What follows a trial's last epoch: exporting its students and timing them."""
        trainer = Trainer(recipe, self._few, self._sources, self._device)
        files = [trainer.ship(), *(each for each in trainer.ship_peers() if isinstance(each, bytes))]
        begun = self._now()
        for data in files:
            with suppress(ExportError):  # what it takes to find that out
                cost_before(data, "latency_ms")
        return self._now() - begun

    def _now(self) -> float:
        """A clock: on a GPU the time of day, with its work done; else processor time by thread.

        The latter is what a machine takes that has nothing else to do, whatever else it does now.
        """
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            return time.perf_counter()
        return time.process_time() / torch.get_num_threads()


def _shortened(recipe: Recipe) -> Recipe:
    """With at most one epoch of each phase."""
    return replace(recipe, phases=tuple(replace(p, epochs=min(p.epochs, 1)) for p in recipe.phases))


def _mean_of_sizes(
    origins: list[Origin], context: Context, task: LoadedTask, epochs: list[float], lengths: list[int]
) -> float:
    """Seconds of all epochs, averaged over sizes as they are drawn at random.

    Args:
        origins: of these sizes.
        context: of the sweep.
        task: its data, on the CPU.
        epochs: seconds of an epoch of the smallest and of the largest student.
        lengths: how many epochs a student of each origin trains.
    """
    counts = np.array(
        [macs(origin.outline(context.task, task)[1], context.task.interface) for origin in origins],
        dtype=float,
    )
    shares = (counts - counts.min()) / max(counts.max() - counts.min(), 1.0)
    return float(((epochs[0] + (epochs[1] - epochs[0]) * shares) * lengths).mean())


def _drawn(space: Space, context: Context) -> list[Origin]:
    """Origins at both ends of all sizes, and evenly between them (a Halton sequence)."""
    opened = space.opened(context)
    return [origin for start in opened.fresh for origin in _of_start(opened, start)]


def _of_start(opened: Opened, start: str) -> list[Origin]:
    origin, handles = opened.origins[start], opened.sizes(start)
    count = FEWER_SIZES if origin.cuts else SIZES
    points = qmc.Halton(max(1, len(handles)), scramble=False).random(count - 1)
    points = np.vstack([points, np.ones(points.shape[1])])  # the sequence begins at 0
    return [
        resized(
            origin,
            {
                each.field: each.at(opened.ends(each), share)
                for each, share in zip(handles, row, strict=False)
            },
        )
        for row in points
    ]


@dataclass(frozen=True)
class TrialTimes:
    """Seconds of trials that each have a processor of their own.

    Attributes:
        smallest_epoch: of the smallest student.
        largest_epoch: of the largest.
        first: a starting point, at the study's own size.
        other: a trial of any size, on average.
        points: how many starting points there are.
        measuring: a student of the front once more.
        answer: the teacher's to a batch.
    """

    smallest_epoch: float
    largest_epoch: float
    first: float
    other: float
    points: int
    measuring: float
    answer: float

    def trial(self, trials: int) -> float:
        """One of so many, on average."""
        given = min(self.points, trials)
        return (given * self.first + (trials - given) * self.other) / trials


def time_teacher(timer: Timer, study: Study, untrained_recipe: Recipe | None) -> float:
    """Seconds of the teacher's training, 0 if it is kept, with the processors that a sweep gives it.

    Args:
        timer: of the machine.
        study: says how many.
        untrained_recipe: the teacher's, if it is to be trained.
    """
    with _threads(study.teacher_threads or os.cpu_count() or 1):
        return 0.0 if untrained_recipe is None else timer.training(untrained_recipe)


def time_trials(timer: Timer, study: Study, context: Context, sizes: Ends) -> TrialTimes:
    """On one thread, as trials have it."""
    with _threads(1):
        answer = timer.answer()
        live = answer if context.teacher_views is not None else 0.0
        live_context = replace(context, teacher_views=None)
        points = [
            study.space(optuna.trial.FixedTrial(point), live_context)
            for point in study.space.starting_points(context)
        ]
        ends = {recipe.origin: timer.end(recipe) for recipe in (sizes.smallest, sizes.largest, points[0])}
        # Two recipes without a teacher, which differ in size alone.
        extremes = [replace(points[0], origin=recipe.origin) for recipe in (sizes.smallest, sizes.largest)]
        epochs = [timer.epoch(recipe) for recipe in extremes]
        drawn = _drawn(study.space, context)
        first = float(np.mean([timer.trial(replace(point, task=context.task), live) for point in points]))
    lengths = [epochs_for(each, context.task, context.epochs, context.compute) for each in drawn]
    scale = _mean_of_sizes(drawn, context, timer.task, epochs, lengths)
    scale /= timer.epoch(points[0]) * epochs_for(
        points[0].origin, context.task, context.epochs, context.compute
    )
    return TrialTimes(
        smallest_epoch=epochs[0],
        largest_epoch=epochs[1],
        first=first + ends[points[0].origin] + TRIAL_SECONDS,
        other=first * scale + float(np.mean(list(ends.values()))) + TRIAL_SECONDS,
        points=len(points),
        measuring=timer.evaluation(points[0]) + 3 * ends[points[0].origin],
        answer=answer,
    )


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Let torch compute with so many threads for as long as this lasts."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
