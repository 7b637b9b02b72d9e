"""The teacher: trained once and asked once, kept by its recipe's hash with what it made for its students."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from search.problem import Problem
from search.teaching.along import Along
from spaces import Context, Space
from trainables.data.kept import checksum_of
from trainables.files import locked, write_file
from trainables.foreign import shown
from trainables.recipe import Recipe
from trainables.shipping.packed_file import PackedFileError, read_file, read_header
from trainables.tasks.base import Arrays, LoadedTask
from trainables.teachers.inside import feature_bytes
from trainables.teachers.sources import NoSources
from trainables.training.checkpoint import CheckpointError
from trainables.training.trainer import Trainer
from trainables.training.trial_folder import TrialFolder

TRAINING = "-training-"


def teacher_path(store: Path, recipe: Recipe) -> Path:
    """Where the trained teacher of ``recipe`` is kept."""
    return store / "teachers" / f"{recipe.recipe_id}.rdz"


def cached_teacher(store: Path, recipe: Recipe) -> bytes | None:
    """The kept teacher's packed file, or None if it has not been trained.

    Raises:
        Problem: a file is there, but damaged or of another recipe.
    """
    path = teacher_path(store, recipe)
    if not os.path.lexists(path):
        return None
    try:
        data = read_file(path)
        found = read_header(data).recipe_id
    except PackedFileError as error:
        why = shown(str(error))
        raise Problem(f"{path} cannot be used ({why}); remove it to train the teacher again.") from error
    if found != recipe.recipe_id:
        raise Problem(f"{path} holds recipe {found}; remove it to train the teacher again.")
    return data


@contextmanager
def alone_with_teacher(store: Path, recipe: Recipe, waiting: Callable[[], None]) -> Iterator[None]:
    """Be the only sweep of the store that trains this teacher or lets it make something.

    Who comes second finds what the first has kept: two sweeps have one teacher, whichever began. The kernel
    lets go of the lock when its process dies.

    Args:
        store: folder of the sweeps' files.
        recipe: the teacher's.
        waiting: called once if another sweep is at it.
    """
    path = teacher_path(store, recipe).with_suffix(".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    with locked(file, waiting):
        yield


@dataclass(frozen=True)
class TeacherEpoch:
    """How far the teacher's training has come.

    Attributes:
        epoch: epochs finished.
        loss: of that epoch; None at the start.
        note: why a checkpoint that is there is not used; empty if it is, or if there is none.
    """

    epoch: int
    loss: float | None
    note: str = ""


def teacher_epochs(
    recipe: Recipe,
    arrays: Arrays,
    device: str,
    threads: int,
    store: Path | None = None,
    *,
    route: bool = False,
) -> Iterator[TeacherEpoch | bytes]:
    """Train ``recipe`` in this process, from where an earlier process left off.

    Stopping after any epoch and going on changes no bit on the CPU, as for trials.

    Args:
        recipe: the teacher's.
        arrays: the data of its task.
        device: where to train, ``cpu`` or ``cuda``.
        threads: on the CPU.
        store: keeps a checkpoint while it trains; None keeps none.
        route: whether the network's packed file is kept in the store after each of
            :func:`trainables.teachers.anchors.route_epochs`; default False.

    Yields:
        How far it is at the start, then each epoch, and last the packed file.

    Raises:
        StoreTrouble, TrialInUse: the checkpoint cannot be written, or another process works on it.
        Diverged: the loss, or a weight, is not finite.
    """
    torch.set_num_threads(threads)
    where = torch.device(device)
    task = recipe.task.open(arrays, where, recipe.seed)
    folder = None if store is None else TrialFolder(_training_folder(store, recipe, arrays))
    along = Along(recipe, None if folder is None or not route else folder.path)
    with nullcontext() if folder is None else folder.held():
        trainer, note = Trainer(recipe, task, NoSources(), where), ""
        try:
            before = 0.0 if folder is None else folder.load(trainer)
            along.check(trainer.epoch)
        except CheckpointError as error:  # training again is all that it would have saved
            trainer, note, before = Trainer(recipe, task, NoSources(), where), str(error), 0.0
        started = time.perf_counter() - before
        yield TeacherEpoch(trainer.epoch, None, note)
        while not trainer.finished:
            loss = trainer.train_epoch()["loss"]
            along.keep(trainer)
            if folder is not None and not trainer.finished:
                folder.save(trainer, time.perf_counter() - started)
            yield TeacherEpoch(trainer.epoch, loss)
        file = trainer.ship()
        if store is not None:
            along.finish(store, file)
        yield file


def _training_folder(store: Path, recipe: Recipe, arrays: Arrays) -> Path:
    """Of the checkpoint; named after the data too, so that a training goes on only on what it began with."""
    data = checksum_of(arrays).hex()[:16]
    return teacher_path(store, recipe).with_name(f"{recipe.recipe_id}{TRAINING}{data}")


def keep_teacher(store: Path, recipe: Recipe, data: bytes) -> None:
    """Keep a trained teacher for the next sweep, and no longer what its training could have gone on from."""
    path = teacher_path(store, recipe)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, data)
    forget_training(store, recipe)


def forget_training(store: Path, recipe: Recipe) -> None:
    """Remove what a teacher's training could have gone on from."""
    for folder in teacher_path(store, recipe).parent.glob(f"{recipe.recipe_id}{TRAINING}*"):
        shutil.rmtree(folder, ignore_errors=True)  # nobody reads it any more, whatever is left


FEATURE_BYTES = 4096
"""Of a sample in one view, that features of one place may take to be remembered: large maps are not."""
SHARE_OF_OBJECT_STORE = 0.25
"""Of a node's, that remembered outputs may take; the data and what trials pass about need the rest."""


def views_that_fit(views: int | None, view_bytes: int, store_bytes: float) -> int | None:
    """``views``, or None where the outputs in so many views are too large for an object store.

    Args:
        views: how many are wanted, or None for a teacher that is asked at every step anyway.
        view_bytes: what the outputs in one view take.
        store_bytes: size of the smallest node's object store.
    """
    if views is None or views * view_bytes > SHARE_OF_OBJECT_STORE * store_bytes:
        return None
    return views


def view_bytes(task: LoadedTask, outputs: int) -> int:
    """Bytes of what is remembered of the training split in one view, given the task's ``outputs``."""
    return task.rows("train") * task.memory.row_bytes(outputs)


def features_that_fit(
    sizes: Mapping[str, int | None], views: int | None, samples: int, view_bytes: int, store_bytes: float
) -> tuple[str, ...]:
    """The places whose features are remembered beside the outputs: the smallest first, while there is room.

    None of more than :data:`FEATURE_BYTES` a sample.

    Args:
        sizes: by place, what its features take in one view; None where the network has no such place.
        views: in which the outputs are remembered, or None for a teacher that is asked at every step.
        samples: of the training split.
        view_bytes: what the outputs take in one view.
        store_bytes: size of the smallest node's object store.
    """
    left = SHARE_OF_OBJECT_STORE * store_bytes - (views or 0) * view_bytes
    found = []
    for place, size in sorted(sizes.items(), key=lambda each: (each[1] or 0, each[0])):
        if views is None or size is None or size > FEATURE_BYTES * samples:
            continue
        if views * size <= left:
            left -= views * size
            found.append(place)
    return tuple(found)


def feature_sizes(recipe: Recipe, task: LoadedTask, places: Iterable[str]) -> dict[str, int | None]:
    """What the features of the network of ``recipe`` take in one view, by place; None where it has none."""
    with torch.random.fork_rng(devices=[]):
        _, network = recipe.origin.outline(recipe.task, task)
    sizes: dict[str, int | None] = {}
    for place in places:
        try:
            sizes[place] = feature_bytes(network, task, place)
        except ValueError:  # methods that look there are left out
            sizes[place] = None
    return sizes


def lacking_features(space: Space, context: Context, recipe: Recipe, task: LoadedTask) -> tuple[str, ...]:
    """The places that the methods of ``space`` look at and the network of the teacher's ``recipe`` lacks."""
    places = space.looks_at(context)
    sizes = feature_sizes(recipe, task, places) if places else {}
    return tuple(place for place, size in sizes.items() if size is None)
