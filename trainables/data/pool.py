"""Processes that read a dataset, forked from this one."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader

from trainables.data.errors import DataError, ItemError

PREFETCH = 4
"""Chunks or batches that each process reads ahead."""


def pool_of(reader: Any, requests: Sequence[Any], workers: int) -> DataLoader[Any]:
    """Gives ``reader[request]`` of each request, in order; what is read ahead is bounded.

    Args:
        reader: its items are lists of tensors or arrays, or an :class:`ItemError`, given and not raised.
        requests: read anew in every pass, so they may be exchanged in between.
        workers: processes, at least 1; they begin with the first pass and end with the pool.
    """
    gc.collect()  # ends processes of pools that nobody has any more, before others inherit them
    return DataLoader(
        reader,
        batch_size=None,
        sampler=requests,
        collate_fn=_as_it_is,
        num_workers=workers,
        persistent_workers=True,
        prefetch_factor=PREFETCH,
        # Forked: what users' datasets hold, such as lambdas, often cannot be pickled.
        multiprocessing_context="fork",
        # Each pass draws a seed of its own, which must not come from what training draws from.
        generator=torch.Generator(),
        worker_init_fn=_leave_inherited,
    )


def checked(values: Any) -> Any:
    """What a reader has read.

    Raises:
        ItemError: it has not.
    """
    if isinstance(values, ItemError):
        raise values
    return values


DEATHS = (RuntimeError, OSError, EOFError)
"""What a loader raises when a process of its pool has ended: its own RuntimeError, or what a pipe or socket
says that was being read."""


def died(split: str, error: Exception) -> DataError:
    """What is said when a process of the pool has ended, which one of :data:`DEATHS` tells."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return DataError(
        f'a process that reads data("{split}") has died ({reason}); if memory or /dev/shm ran out, make '
        "batches or items smaller"
    )


def _leave_inherited(worker: int) -> None:
    """Let a new process collect nothing that it has from the one that it was forked from."""
    # Other pools may be in there, and their processes are not this one's children to be ended.
    gc.freeze()


def _as_it_is(values: Any) -> Any:
    return values
