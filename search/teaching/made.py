"""The teacher of a sweep and what is made of it, in tasks of Ray's; each is made once per store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.exceptions import NodeDiedError, OutOfMemoryError, WorkerCrashedError

from search.clusters.machine import Machine
from search.problem import Problem
from search.reporter import Reporter
from search.store.mlflow_client import StoreError
from search.teaching.along import Route, cached_route, keep_route
from search.teaching.kept import (
    TeacherEpoch,
    ask_features,
    ask_teacher,
    cached_product,
    features_name,
    forget_training,
    keep_product,
    keep_teacher,
    make_product,
    outputs_name,
    product_path,
    teacher_epochs,
)
from search.units import count, show_seconds
from trainables.models.allowed import Allowed, allow_all
from trainables.recipe import Recipe
from trainables.tasks.base import Arrays, TaughtTask
from trainables.teachers.sources import TeacherOutputs
from trainables.training.out_of_memory import out_of_memory
from trainables.training.trial_folder import StoreTrouble, TrialInUse

MAX_FAILURES = 3
"""Of the process that trains the teacher, which each time goes on from its last checkpoint."""
TELL_SECONDS = 5.0
"""At least so long lies between two lines about the teacher's epochs."""


@ray.remote(num_returns="streaming", max_retries=0)
def _train_teacher(
    recipe: Recipe, arrays: Arrays, device: str, threads: int, store: Path, route: bool
) -> Iterator[TeacherEpoch | bytes]:
    yield from teacher_epochs(recipe, arrays, device, threads, store, route=route)


@ray.remote
def _with_models(own: tuple[Allowed, ...], work: Callable[..., Any], *arguments: Any) -> Any:
    """``work`` on ``arguments`` in a process that may import the user's models."""
    allow_all(own)
    return work(*arguments)


@dataclass(frozen=True)
class TeacherJobs:
    """What a sweep has its teacher do, each in a task of Ray's; what comes out is kept in the store.

    Attributes:
        recipe: the teacher's.
        fingerprint: of its task's data.
        data: these data, or a reference to them in Ray's object store.
        store: folder of the sweeps' files.
        machine: what there is to compute on.
        reporter: hears what is being done.
        threads: processors on the CPU, no more than one node has; None (default) for all of a node's.
        own: code of the user's own that may be imported; default none.
        route: whether checkpoints along its training are kept, too; default False.
    """

    recipe: Recipe
    fingerprint: str
    data: Any
    store: Path
    machine: Machine
    reporter: Reporter
    threads: int | None = None
    own: tuple[Allowed, ...] = ()
    route: bool = False

    def train(self) -> bytes:
        """The teacher's packed file, trained now and kept.

        Raises:
            StoreError: the store cannot be written.
            Problem: another process trains it.
        """
        self.reporter.say(f"training the teacher, {count(self.recipe.epochs, 'epoch')}")
        file = self._trained()
        keep_teacher(self.store, self.recipe, file)
        return file

    def along(self, file: bytes) -> Route:
        """Packed files along the training of the teacher in a packed ``file``, trained again if need be.

        A sweep whose space asked for none has kept none. Its teacher stays what it is.

        Raises:
            StoreError, Problem: as for :meth:`train`.
        """
        kept = cached_route(self.store, self.recipe, file)
        if kept is not None:
            return kept
        self.reporter.say(
            "training the teacher once more, for checkpoints along its training, which were not kept when it "
            f"was trained: {count(self.recipe.epochs, 'epoch')}"
        )
        again = self._trained()
        found = cached_route(self.store, self.recipe, again)
        if found is None:
            raise StoreError("The checkpoints along the teacher's training are gone: sweep again.")
        route = keep_route(self.store, self.recipe, file, found)
        forget_training(self.store, self.recipe)
        return route

    def _trained(self) -> bytes:
        """The teacher's packed file, trained now."""
        threads, gpus = self._processors()
        task = _train_teacher.options(num_cpus=threads, num_gpus=gpus)
        failures = 0
        while True:
            try:
                epochs: Any = task.remote(
                    self.recipe, self.data, self.machine.device, threads, self.store.absolute(), self.route
                )
                return _followed(epochs, self.recipe.epochs, self.reporter)
            except (WorkerCrashedError, NodeDiedError, OutOfMemoryError) as error:
                failures += 1
                if failures > MAX_FAILURES:
                    raise
                self.reporter.say(f"the process that trained the teacher has ended ({type(error).__name__})")
            except StoreTrouble as error:  # as Ray raises it, with a whole traceback for a text
                cause = getattr(error, "cause", error)
                raise StoreError(f"The teacher's training cannot write to the store: {cause}") from error
            except TrialInUse as error:
                cause = getattr(error, "cause", error)
                raise Problem(f"The teacher cannot be trained: {cause}; wait until it has ended.") from error
            except (RuntimeError, MemoryError) as error:
                if why := out_of_memory(getattr(error, "cause", error)):
                    raise Problem(f"The teacher cannot be trained: {why}.") from error
                raise

    def outputs(self, file: bytes, views: int) -> TeacherOutputs:
        """What the teacher in a packed ``file`` says to so many views, of an earlier sweep or asked now."""
        task = self.recipe.task
        path = self._path(file, outputs_name(views, task))
        kept = cached_product(path)
        if kept is not None:
            return TeacherOutputs(self.recipe.recipe_id, self.fingerprint, views, kept)
        self.reporter.say(
            f"asking the teacher about every sample{f', in {views} views' if views > 1 else ''}"
        )
        found: TeacherOutputs = self._run(ask_teacher, file, self.data, task, views)
        keep_product(path, found.values)
        return found

    def features(self, file: bytes, views: int, places: Sequence[str]) -> dict[str, tuple[np.ndarray, ...]]:
        """The teacher's features at ``places`` in so many views, kept by an earlier sweep or asked now."""
        paths = {place: self._path(file, features_name(views, place)) for place in places}
        kept = {place: cached_product(path) for place, path in paths.items()}
        missing = [place for place, found in kept.items() if found is None]
        if missing:
            self.reporter.say(f"asking the teacher for its features of every sample: {', '.join(missing)}")
            kept |= self._run(ask_features, file, self.data, self.recipe.task, views, missing)
        for place in missing:
            keep_product(paths[place], kept[place] or {})
        return {
            place: tuple(found[str(number)] for number in range(len(found)))
            for place, found in kept.items()
            if found is not None
        }

    def product(self, file: bytes, taught: TaughtTask) -> Arrays:
        """The arrays that ``taught`` takes from the teacher, of an earlier sweep or made now."""
        path = self._path(file, taught.product)
        kept = cached_product(path)
        if kept is not None:
            return kept
        self.reporter.say(f"letting the teacher make training data: {taught.product}")
        found: Arrays = self._run(make_product, file, self.data, taught)
        keep_product(path, found)
        return found

    def _path(self, file: bytes, name: str) -> Path:
        return product_path(self.store, self.recipe, file, self.fingerprint, name)

    def _run(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """``work`` on ``arguments``, a device and a number of threads."""
        threads, gpus = self._processors()
        task = _with_models.options(num_cpus=threads, num_gpus=gpus)
        return ray.get(task.remote(self.own, work, *arguments, self.machine.device, threads))

    def _processors(self) -> tuple[int, int]:
        """Processors and GPUs that train and ask the teacher."""
        if self.machine.gpus_per_trial > 0:
            return 1, 1
        # No more than one node has, or the task would wait for ever.
        largest = max(int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"])
        return max(1, min(self.threads or largest, largest)), 0


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
