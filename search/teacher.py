"""The teacher: trained once, kept by its recipe's hash."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from search.problem import Problem
from trainables.packed_file import PackedFileError, read_file, read_header, write_file
from trainables.recipe import Recipe
from trainables.tasks.base import Arrays
from trainables.trainer import no_network, train


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
    return train(recipe, recipe.task.open(arrays, where, recipe.seed), no_network, where, on_epoch)


def keep_teacher(store: Path, recipe: Recipe, data: bytes) -> None:
    """Keep a trained teacher for the next sweep."""
    path = teacher_path(store, recipe)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, data)
