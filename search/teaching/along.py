"""What a teacher was along its training: packed files after some of its epochs, kept beside it."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from search.problem import Problem
from spaces import Context, Space
from trainables.files import write_file
from trainables.foreign import shown
from trainables.recipe import Recipe
from trainables.shipping.packed_file import PackedFileError, read_file, read_header
from trainables.teachers.anchors import route_epochs
from trainables.training.checkpoint import CheckpointError
from trainables.training.trainer import Trainer
from trainables.training.trial_folder import writing_to_the_store

Route = Mapping[int, np.ndarray]
"""Epochs finished -> the packed file, as bytes (uint8), in ascending order; the last is the teacher's own."""


def needs_route(space: Space, context: Context) -> bool:
    """Whether any recipe of ``space`` asks for networks along the training of the sweep's teacher."""
    recipes = space.opened(context).defaults.values()
    return context.teacher_route is not None and any(recipe.teacher.needs_route for recipe in recipes)


def files_kept(space: Space, context: Context, recipe: Recipe) -> int:
    """How many packed files of the teacher the store holds at most: a route twice as its training ends."""
    return max(1, 2 * len(route_epochs(recipe.epochs))) if needs_route(space, context) else 1


def has_route(space: Space, context: Context, store: Path, recipe: Recipe, file: bytes) -> bool:
    """Whether the teacher in a packed ``file`` has all checkpoints along its training that ``space`` needs.

    Raises:
        Problem: as for :func:`cached_route`.
    """
    return not needs_route(space, context) or cached_route(store, recipe, file) is not None


def route_folder(store: Path, recipe: Recipe, file: bytes) -> Path:
    """Where the checkpoints along the training of the teacher in a packed ``file`` are kept."""
    return store / "teachers" / f"{recipe.recipe_id}-route-{hashlib.sha256(file).hexdigest()[:16]}"


def cached_route(store: Path, recipe: Recipe, file: bytes) -> Route | None:
    """The route that is kept of the teacher in a packed ``file``, or None if one of its files is missing.

    Raises:
        Problem: a file is there, but damaged or of another recipe.
    """
    folder, found = route_folder(store, recipe, file), dict[int, np.ndarray]()
    for epoch in _before_the_end(recipe):
        path = _path(folder, epoch)
        if not os.path.lexists(path):
            return None
        try:
            data = read_file(path)
            own = read_header(data).recipe_id == recipe.recipe_id
        except PackedFileError as error:
            why = shown(str(error))
            raise Problem(
                f"{path} cannot be used ({why}); remove it to train the teacher once more."
            ) from error
        if not own:
            raise Problem(f"{path} is of another teacher; remove it to train the teacher once more.")
        found[epoch] = np.frombuffer(data, dtype=np.uint8)
    return found | {recipe.epochs: np.frombuffer(file, dtype=np.uint8)}


def keep_route(store: Path, recipe: Recipe, file: bytes, route: Route) -> Route:
    """Keep what another training of ``recipe`` was as the route to the teacher in a packed ``file``.

    On the CPU both trainings end at the same network; on a GPU, which adds in any order, at nearly the same.
    """
    folder, other = (route_folder(store, recipe, each) for each in (file, route[recipe.epochs].tobytes()))
    folder.mkdir(parents=True, exist_ok=True)
    for epoch in _before_the_end(recipe):
        write_file(_path(folder, epoch), route[epoch].tobytes())
    if other != folder:
        shutil.rmtree(other, ignore_errors=True)  # of a network that nobody has kept
    return {**route, recipe.epochs: np.frombuffer(file, dtype=np.uint8)}


class Along:
    """Packed files of a teacher while it trains.

    Args:
        recipe: the teacher's.
        folder: of its training's checkpoint, in which they have one of their own; None keeps none.
    """

    def __init__(self, recipe: Recipe, folder: Path | None) -> None:
        self._recipe = recipe
        self._folder = None if folder is None else folder / "route"

    def check(self, epoch: int) -> None:
        """Refuse to go on where files up to ``epoch`` are missing.

        Raises:
            CheckpointError: one is, so that training has to begin again.
        """
        if self._folder is None:
            return
        for each in _before_the_end(self._recipe):
            if each <= epoch and not _path(self._folder, each).exists():
                raise CheckpointError(f"its packed file after epoch {each} was not kept")

    def keep(self, trainer: Trainer) -> None:
        """Keep the file of this moment, if it is one of those that are kept.

        Raises:
            StoreTrouble: it cannot be written.
        """
        if self._folder is None or trainer.epoch not in _before_the_end(self._recipe):
            return
        with writing_to_the_store(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            write_file(_path(self._folder, trainer.epoch), trainer.ship())

    def finish(self, store: Path, file: bytes) -> None:
        """Copy all of them to where the teacher in a packed ``file`` has them.

        They go with the training's folder only when the teacher is kept, so a process that is killed in
        between has lost nothing.

        Raises:
            StoreTrouble: they cannot be written.
        """
        if self._folder is None:
            return
        folder = route_folder(store, self._recipe, file)
        with writing_to_the_store(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for epoch in _before_the_end(self._recipe):
                write_file(_path(folder, epoch), _path(self._folder, epoch).read_bytes())


def _before_the_end(recipe: Recipe) -> tuple[int, ...]:
    """The epochs after which a file is kept, without the last, whose file is the teacher."""
    return route_epochs(recipe.epochs)[:-1]


def _path(folder: Path, epoch: int) -> Path:
    return folder / f"{epoch:06}.rdz"
