"""The teacher of a sweep and what is made of it, in tasks of Ray's; each is made once per store."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import NodeDiedError, OutOfMemoryError, WorkerCrashedError

from search.clusters.machine import Machine
from search.problem import Problem
from search.reporter import Reporter
from search.store.mlflow_client import StoreError
from search.teaching.kept import (
    TeacherEpoch,
    ask_teacher,
    be_taught,
    cached_product,
    keep_product,
    keep_teacher,
    outputs_name,
    product_path,
    teacher_epochs,
)
from search.units import count, show_seconds
from studies.study import Study
from trainables.models.custom import allow
from trainables.recipe import Recipe
from trainables.tasks.base import Arrays, Task, TaughtTask
from trainables.teachers.sources import TeacherOutputs
from trainables.trainable import TrialSettings
from trainables.training.trial_folder import StoreTrouble, TrialInUse

MAX_FAILURES = 3
"""Of the process that trains the teacher, which each time goes on from its last checkpoint."""
TELL_SECONDS = 5.0
"""At least so long lies between two lines about the teacher's epochs."""


@dataclass(frozen=True)
class Trained:
    """The teacher, and the data it makes things of.

    Attributes:
        recipe: how it was trained.
        file: its packed file.
        fingerprint: of its task's data.
    """

    recipe: Recipe
    file: bytes
    fingerprint: str


@ray.remote(num_returns="streaming", max_retries=0)
def _train_teacher(
    recipe: Recipe, arrays: Arrays, device: str, threads: int, store: Path
) -> Iterator[TeacherEpoch | bytes]:
    yield from teacher_epochs(recipe, arrays, device, threads, store)


@ray.remote
def _ask_teacher(
    file: bytes, arrays: Arrays, task: Task, views: int, settings: TrialSettings, threads: int
) -> TeacherOutputs:
    for target in settings.own_models:
        allow(target)
    return ask_teacher(file, arrays, task, views, settings.device, threads)


@ray.remote
def _be_taught(
    file: bytes, arrays: Arrays, task: TaughtTask, settings: TrialSettings, threads: int
) -> Arrays:
    for target in settings.own_models:
        allow(target)
    return be_taught(file, arrays, task, settings.device, threads)


def trained_teacher(
    study: Study, recipe: Recipe, store: Path, data: Any, machine: Machine, reporter: Reporter
) -> bytes:
    """The teacher's packed file, trained now and kept in the store.

    Raises:
        StoreError: the store cannot be written.
        Problem: another process trains it.
    """
    reporter.say(f"training the teacher, {count(recipe.epochs, 'epoch')}")
    threads, gpus = _of_the_teacher(study, machine)
    task = _train_teacher.options(num_cpus=threads, num_gpus=gpus)
    failures = 0
    while True:
        try:
            epochs: Any = task.remote(recipe, data, machine.device, threads, store.absolute())
            file = _followed(epochs, recipe.epochs, reporter)
            break
        except (WorkerCrashedError, NodeDiedError, OutOfMemoryError) as error:
            failures += 1
            if failures > MAX_FAILURES:
                raise
            reporter.say(f"the process that trained the teacher has ended ({type(error).__name__})")
        except StoreTrouble as error:  # as Ray raises it, with a whole traceback for a text
            cause = getattr(error, "cause", error)
            raise StoreError(f"The teacher's training cannot write to the store: {cause}") from error
        except TrialInUse as error:
            cause = getattr(error, "cause", error)
            raise Problem(f"The teacher cannot be trained: {cause}; wait until it has ended.") from error
    keep_teacher(store, recipe, file)
    return file


def _followed(epochs: Iterator[Any], of: int, reporter: Reporter) -> bytes:
    """The teacher's file at the end of its training, whose epochs are told, at most one in a few seconds."""
    begun = told = time.monotonic()
    first = 0
    for reference in epochs:
        item: TeacherEpoch | bytes = ray.get(reference)
        if isinstance(item, bytes):
            return item
        now = time.monotonic()
        if item.loss is None:
            begun, first = now, item.epoch
            if item.note:
                reporter.say(f"the teacher begins again, for {item.note}")
            elif item.epoch:
                reporter.say(f"the teacher goes on after epoch {item.epoch} of {of}")
        elif now - told >= TELL_SECONDS:
            told = now
            left = (now - begun) / (item.epoch - first) * (of - item.epoch)
            reporter.say(
                f"training the teacher: epoch {item.epoch} of {of}, loss {item.loss:.3g}, "
                f"about {show_seconds(left)} left"
            )
    raise AssertionError("the teacher's training ended without its file")


def teacher_outputs(
    trained: Trained,
    views: int,
    data: Any,
    store: Path,
    settings: TrialSettings,
    machine: Machine,
    study: Study,
    reporter: Reporter,
) -> TeacherOutputs:
    """The teacher's outputs, of an earlier sweep or computed now."""
    recipe, file = trained.recipe, trained.file
    path = product_path(store, recipe, file, trained.fingerprint, outputs_name(views, recipe.task))
    kept = cached_product(path)
    if kept is not None:
        return TeacherOutputs(recipe.recipe_id, trained.fingerprint, views, kept)
    reporter.say(f"asking the teacher about every sample{f', in {views} views' if views > 1 else ''}")
    threads, gpus = _of_the_teacher(study, machine)
    task = _ask_teacher.options(num_cpus=threads, num_gpus=gpus)
    found: TeacherOutputs = ray.get(task.remote(file, data, recipe.task, views, settings, threads))
    keep_product(path, found.values)
    return found


def teacher_product(
    trained: Trained,
    taught: TaughtTask,
    data: Any,
    store: Path,
    settings: TrialSettings,
    machine: Machine,
    study: Study,
    reporter: Reporter,
) -> Arrays:
    """The arrays that the task ``taught`` takes from the teacher, of an earlier sweep or made now."""
    path = product_path(store, trained.recipe, trained.file, trained.fingerprint, taught.product)
    kept = cached_product(path)
    if kept is not None:
        return kept
    reporter.say(f"letting the teacher make training data: {taught.product}")
    threads, gpus = _of_the_teacher(study, machine)
    task = _be_taught.options(num_cpus=threads, num_gpus=gpus)
    found: Arrays = ray.get(task.remote(trained.file, data, taught, settings, threads))
    keep_product(path, found)
    return found


def _of_the_teacher(study: Study, machine: Machine) -> tuple[int, int]:
    """Processors and GPUs that train and ask the teacher."""
    if machine.gpus_per_trial > 0:
        return 1, 1
    # No more than one node has, or the task would wait for ever.
    largest = max(int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"])
    return max(1, min(study.teacher_threads or largest, largest)), 0
