"""The training of a sweep's teacher, in a task of Ray's; it is trained once per store."""

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
from search.teaching.along import Route, cached_route, keep_route
from search.teaching.kept import (
    TeacherEpoch,
    forget_training,
    keep_teacher,
    teacher_epochs,
)
from search.units import count, show_seconds
from trainables.recipe import Recipe
from trainables.tasks.base import Arrays
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


@dataclass(frozen=True)
class TeacherJobs:
    """The training of a sweep's teacher; what comes out is kept in the store.

    Attributes:
        recipe: the teacher's.
        fingerprint: of its task's data.
        data: these data, or a reference to them in Ray's object store.
        store: folder of the sweeps' files.
        machine: what there is to compute on.
        reporter: hears what is being done.
        threads: processors on the CPU, no more than one node has; None (default) for all of a node's.
        route: whether checkpoints along its training are kept, too; default False.
    """

    recipe: Recipe
    fingerprint: str
    data: Any
    store: Path
    machine: Machine
    reporter: Reporter
    threads: int | None = None
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
