"""What a sweep's teacher makes once, made by the first trial that needs it, while others train."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from search.problem import Problem
from search.teaching.products import (
    ask_features,
    ask_teacher,
    cached_product,
    features_name,
    keep_product,
    make_product,
    outputs_name,
    product_path,
)
from trainables.files import locked
from trainables.recipe import Recipe
from trainables.tasks.base import Arrays, TaughtTask
from trainables.training.trial_folder import writing_to_the_store


@dataclass(frozen=True)
class OnDemand:
    """Of one trained teacher; goes to the processes of trials.

    Whoever needs something finds it in the store or makes it there, on its own device and threads, while
    others that need it wait. It is mapped where it is read: one copy for all trials of a machine. A file that
    is damaged is made again.

    Attributes:
        recipe: the teacher's.
        file: it, packed.
        fingerprint: of its task's data.
        store: folder of the sweeps' files, which all nodes see.
    """

    recipe: Recipe
    file: bytes
    fingerprint: str
    store: Path

    @property
    def recipe_id(self) -> str:
        """Names the teacher."""
        return self.recipe.recipe_id

    def outputs(self, views: int, arrays: Arrays, device: str, threads: int) -> Arrays:
        """What the teacher answers to so many shared views; see :func:`search.teaching.products.ask_teacher`.

        Args:
            views: how many.
            arrays: of its task.
            device: where to compute, ``cpu`` or ``cuda``.
            threads: on the CPU.
        """
        task = self.recipe.task

        def make() -> Arrays:
            return ask_teacher(self.file, arrays, task, views, device, threads).values

        return self._made(outputs_name(views, task), make)

    def features(
        self, views: int, place: str, arrays: Arrays, device: str, threads: int
    ) -> tuple[np.ndarray, ...]:
        """What its layers at ``place`` put out there; the other arguments are those of :meth:`outputs`."""

        def make() -> Arrays:
            return ask_features(self.file, arrays, self.recipe.task, views, [place], device, threads)[place]

        found = self._made(features_name(views, place), make)
        return tuple(found[str(number)] for number in range(len(found)))

    def product(self, taught: TaughtTask, arrays: Arrays, device: str, threads: int) -> Arrays:
        """The arrays that ``taught`` takes from the teacher; the others are those of :meth:`outputs`."""
        return self._made(taught.product, lambda: make_product(self.file, arrays, taught, device, threads))

    def _made(self, name: str, make: Callable[[], Arrays]) -> Arrays:
        path = product_path(self.store, self.recipe, self.file, self.fingerprint, name)
        kept = _kept(path)
        if kept is not None:
            return kept
        with writing_to_the_store(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        with locked(lock, lambda: None):
            kept = _kept(path)  # another may have made it meanwhile
            if kept is not None:
                return kept
            made = make()
            with writing_to_the_store(path):
                keep_product(path, made)
        return _kept(path) or made


def _kept(path: Path) -> Arrays | None:
    """What is there; None where nothing is, or nothing whole."""
    try:
        return cached_product(path)
    except Problem:
        return None
