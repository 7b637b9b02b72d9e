"""The teacher: trained once and asked once, kept with its outputs by its recipe's hash."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy
import torch

from search.problem import Problem
from trainables.evaluation import open_student
from trainables.packed_file import PackedFileError, read_file, read_header, write_file
from trainables.recipe import Recipe
from trainables.tasks.base import Arrays, Task
from trainables.teachers.remembered import remember
from trainables.teachers.sources import NoSources, TeacherOutputs
from trainables.trainer import train


def teacher_path(store: Path, recipe: Recipe) -> Path:
    """Where the trained teacher of ``recipe`` is kept."""
    return store / "teachers" / f"{recipe.recipe_id}.rdz"


def cached_teacher(store: Path, recipe: Recipe) -> bytes | None:
    """The kept teacher's packed file, or None if it has not been trained.

    Raises:
        Problem: a file is there, but damaged or of another recipe.
    """
    path = teacher_path(store, recipe)
    if not path.exists():
        return None
    try:
        data = read_file(path)
        found = read_header(data).recipe_id
    except PackedFileError as error:
        raise Problem(f"{path} cannot be used ({error}); remove it to train the teacher again.") from error
    if found != recipe.recipe_id:
        raise Problem(f"{path} holds recipe {found}; remove it to train the teacher again.")
    return data


def train_teacher(
    recipe: Recipe,
    arrays: Arrays,
    device: str,
    threads: int,
    on_epoch: Callable[[int, dict[str, float]], None],
) -> bytes:
    """Train ``recipe`` in this process and return its packed file."""
    torch.set_num_threads(threads)
    where = torch.device(device)
    return train(recipe, recipe.task.open(arrays, where, recipe.seed), NoSources(), where, on_epoch)


def keep_teacher(store: Path, recipe: Recipe, data: bytes) -> None:
    """Keep a trained teacher for the next sweep."""
    path = teacher_path(store, recipe)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, data)


SHARE_OF_OBJECT_STORE = 0.25
"""Of a node's, that remembered outputs may take; the data and what trials pass about need the rest."""


def views_that_fit(views: int | None, samples: int, outputs: int, store_bytes: float) -> int | None:
    """``views``, or None where the outputs in so many views are too large for an object store.

    Args:
        views: how many are wanted, or None for a teacher that is asked at every step anyway.
        samples: of the training split.
        outputs: numbers per sample.
        store_bytes: size of the smallest node's object store.
    """
    if views is None or outputs_bytes(views, samples, outputs) > SHARE_OF_OBJECT_STORE * store_bytes:
        return None
    return views


def outputs_bytes(views: int, samples: int, outputs: int) -> int:
    """Bytes of remembered outputs."""
    return 2 * views * samples * outputs


def ask_teacher(
    file: bytes, arrays: Arrays, task: Task, views: int, device: str, threads: int
) -> TeacherOutputs:
    """What the network in a packed ``file`` answers to the first ``views`` shared views of ``task``.

    Raises:
        ValueError: an answer is not finite in float16.
    """
    torch.set_num_threads(threads)
    recipe, network = open_student(file)
    opened = task.open(arrays, torch.device(device), 0)
    return TeacherOutputs(recipe.recipe_id, opened.fingerprint(), remember(network, opened, views).numpy())


def outputs_path(store: Path, recipe: Recipe, file: bytes, fingerprint: str, views: int) -> Path:
    """Where the outputs of the trained ``recipe`` in the packed ``file`` are kept.

    The name holds a hash of all that they depend on, so that a teacher trained anew, other data or another
    augmentation never meets outputs that are not its own.
    """
    key = hashlib.sha256(hashlib.sha256(file).digest() + fingerprint.encode()).hexdigest()[:16]
    return store / "teachers" / f"{recipe.recipe_id}-{views}views-{key}.safetensors"


def cached_outputs(
    store: Path, recipe: Recipe, file: bytes, fingerprint: str, views: int
) -> TeacherOutputs | None:
    """The kept outputs, or None if the teacher has not been asked.

    Raises:
        Problem: a file is there, but damaged.
    """
    path = outputs_path(store, recipe, file, fingerprint, views)
    if not path.exists():
        return None
    try:
        tensors = safetensors.numpy.load(path.read_bytes())
        values, expected = tensors["outputs"], tensors["sha256"].tobytes()
    except (OSError, KeyError, safetensors.SafetensorError) as error:
        raise Problem(f"{path} cannot be used ({error}); remove it to ask the teacher again.") from error
    if hashlib.sha256(values.data).digest() != expected or values.dtype != np.float16:
        raise Problem(f"{path} is damaged; remove it to ask the teacher again.")
    return TeacherOutputs(recipe.recipe_id, fingerprint, values)


def keep_outputs(store: Path, recipe: Recipe, file: bytes, outputs: TeacherOutputs) -> None:
    """Keep the outputs for the next sweep."""
    path = outputs_path(store, recipe, file, outputs.fingerprint, outputs.views)
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.ascontiguousarray(outputs.values)
    checksum = np.frombuffer(hashlib.sha256(values.data).digest(), dtype=np.uint8)
    write_file(path, safetensors.numpy.save({"outputs": values, "sha256": checksum}))
