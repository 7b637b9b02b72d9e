"""What is taken of a user's file: the samples of its datasets, and what its functions say."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from trainables.data.datasets import Decoded, decoded
from trainables.data.kept import sha256_of
from trainables.data.telling import Tell
from trainables.own_code import module_of, reason, where
from trainables.tasks.base import SPLITS, DataError


def imitated(file: str, student: Tensor, teacher: Tensor) -> Tensor:
    """What ``imitate(student, teacher)`` of a user's file says; looked up when it is asked.

    Raises:
        ValueError: it fails; the message says where.
    """
    found: Tensor = said_by(file, "imitate", module_of(file).imitate, student, teacher)
    return found


def said_by(file: str, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function of a user's file returns.

    Raises:
        ValueError: it fails; the message says where.
    """
    try:
        return function(*arguments)
    except (Exception, SystemExit) as error:  # the user's code may fail in any way
        folder = str(module_of(file).__file__).rpartition("/")[0]
        raise ValueError(f"{name}() of {file}.py fails: {where(error, folder)}{reason(error)}") from error


def read_all(file: str, store: Path | None, tell: Tell) -> tuple[Decoded, str]:
    """The samples of every split of a user's file, and 16 hex digits of a hash of them.

    A training split that draws random numbers itself, or has no room, is not among them: it is read in every
    epoch anew.

    Args:
        file: name of the user's file, without ``.py``.
        store: folder of the sweeps' files, where what is decoded is kept; None keeps it in memory.
        tell: hears of the progress.

    Raises:
        DataError: a dataset fails; the message says at which sample and why.
    """
    read = decoded({split: dataset_of(file, split) for split in SPLITS}, store, tell)
    whole = hashlib.sha256(read.digests["train"].encode() if read.streamed else b"")
    for name in sorted(read.arrays):
        whole.update(f"{name} {sha256_of(read.arrays, name)}".encode())
    return read, whole.hexdigest()[:16]


def dataset_of(file: str, split: str) -> Any:
    """What ``data(split)`` of a user's file returns.

    Raises:
        DataError: it fails, or returns no dataset.
    """
    module = module_of(file)
    make = getattr(module, "data", None)
    if not callable(make):
        raise DataError(f"{file}.py has no function data(split), which returns a dataset of (input, target)")
    try:
        dataset = make(split)
    except (Exception, SystemExit) as error:  # the user's code may fail in any way
        folder = str(module.__file__).rpartition("/")[0]
        raise DataError(
            f"data({split!r}) of {file}.py fails: {where(error, folder)}{reason(error)}"
        ) from error
    if isinstance(dataset, tuple | list) and dataset and all(hasattr(each, "shape") for each in dataset):
        raise DataError(
            f"data({split!r}) of {file}.py returns a {type(dataset).__name__} of arrays: return a dataset of "
            "(input, target), such as torch.utils.data.TensorDataset(inputs, targets)"
        )
    if not hasattr(dataset, "__getitem__") or not hasattr(dataset, "__len__"):
        raise DataError(
            f"data({split!r}) of {file}.py must return a dataset with __len__ and __getitem__, got "
            f"{type(dataset).__name__}"
        )
    return dataset
