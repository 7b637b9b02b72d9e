"""What a teacher makes for its students: answers, features, training data; each a file of the store."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch

from search.problem import Problem
from trainables.data.kept import checksum_of
from trainables.files import write_file
from trainables.foreign import parse_json, shown
from trainables.recipe import Recipe
from trainables.shipping.evaluation import open_student
from trainables.tasks.base import Arrays, Task, TaughtTask
from trainables.teachers.inside import remember_features
from trainables.teachers.remembered import different_views, remember
from trainables.teachers.sources import TeacherOutputs

CHECKSUM = "sha256"
DTYPES = {
    "BOOL": "bool",
    **{f"F{bits}": f"<f{bits // 8}" for bits in (16, 32, 64)},
    **{f"I{bits}": f"<i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"<u{bits // 8}" for bits in (8, 16, 32, 64)},
}
"""NumPy's names of the types that safetensors files name."""


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
    kept = remember(network, opened, different_views(views, opened))
    values = {name: tensor.numpy() for name, tensor in kept.items()}
    return TeacherOutputs(recipe.recipe_id, opened.fingerprint(), views, values)


def ask_features(
    file: bytes, arrays: Arrays, task: Task, views: int, places: Sequence[str], device: str, threads: int
) -> dict[str, dict[str, np.ndarray]]:
    """What the network in a packed ``file`` has at ``places`` in the first ``views`` views of ``task``.

    Raises:
        ValueError: it has no such place, or a feature is not finite in float16.
    """
    torch.set_num_threads(threads)
    _, network = open_student(file)
    opened = task.open(arrays, torch.device(device), 0)
    found = remember_features(network, opened, different_views(views, opened), places)
    return {
        place: {str(number): each.numpy() for number, each in enumerate(tensors)}
        for place, tensors in found.items()
    }


def make_product(file: bytes, arrays: Arrays, task: TaughtTask, device: str, threads: int) -> Arrays:
    """What ``task`` takes from the network in a packed ``file``, as further arrays of its data."""
    torch.set_num_threads(threads)
    _, network = open_student(file)
    return task.taught(network, arrays, torch.device(device))


def outputs_name(views: int, task: Task) -> str:
    """What remembered outputs are called among a teacher's products."""
    return f"{task.memory.name}-{views}views"


def features_name(views: int, place: str) -> str:
    """What remembered features at ``place`` are called among a teacher's products."""
    return f"features{hashlib.sha256(place.encode()).hexdigest()[:8]}-{views}views"


def product_path(store: Path, recipe: Recipe, file: bytes, fingerprint: str, name: str) -> Path:
    """Where the product ``name`` of the trained ``recipe`` in the packed ``file`` is kept.

    Args:
        store: folder of the sweeps' files.
        recipe: the teacher's.
        file: the trained teacher.
        fingerprint: of the data that the product is of.
        name: says what it is; letters, digits and hyphens.

    The path holds a hash of all that a product depends on, so that a teacher trained anew, other data or
    another augmentation never meets products that are not its own.
    """
    key = hashlib.sha256(hashlib.sha256(file).digest() + f"{fingerprint} {name}".encode()).hexdigest()[:16]
    return store / "teachers" / f"{recipe.recipe_id}-{name}-{key}.safetensors"


def cached_product(path: Path) -> dict[str, np.ndarray] | None:
    """The arrays kept at ``path``, or None if the teacher has not made them.

    Raises:
        Problem: a file is there, but damaged.
    """
    if not os.path.lexists(path):
        return None
    try:
        arrays = _mapped(path)
        expected = arrays.pop(CHECKSUM).tobytes()
    except OSError as error:
        raise Problem(
            f"{path} cannot be read ({error.strerror}); remove it to ask the teacher again."
        ) from error
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError) as error:
        why = shown(str(error))
        raise Problem(f"{path} cannot be used ({why}); remove it to ask the teacher again.") from error
    if checksum_of(arrays) != expected:
        raise Problem(f"{path} is damaged; remove it to ask the teacher again.")
    return arrays


def _mapped(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file, read-only: one copy in memory for all processes of a machine.

    Raises:
        ValueError, KeyError, TypeError, AttributeError, OverflowError: it is none.
    """
    whole = np.memmap(path, np.uint8, "r")
    start = 8 + int.from_bytes(whole[:8].tobytes(), "little")
    found = {}
    for name, each in parse_json(whole[8:start].tobytes()).items():
        begin, end = each["data_offsets"]
        if not 0 <= begin <= end <= len(whole) - start:
            raise ValueError(f"{name} is not all there")
        values = np.asarray(whole[start + begin : start + end])
        found[name] = values.view(DTYPES[each["dtype"]]).reshape(each["shape"])
    return found


def keep_product(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Keep what the teacher made for the next sweep."""
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    checksum = np.frombuffer(checksum_of(whole), dtype=np.uint8)
    write_file(path, safetensors.numpy.save({**whole, CHECKSUM: checksum}))
