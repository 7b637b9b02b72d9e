"""Batches of a dataset that does not fit on the disk, or is random itself: read when they are needed.

Interface::

    stream = Stream(dataset, "train", workers=2)          # in the trial's process
    order = epoch_order(len(stream), batch_size, key)     # a list of int64 tensors: the items of each step
    for inputs, targets, index in stream.batches(order, (seed, epoch)):
        ...                                               # on the CPU; inputs as trainables.calling has them
    stream.close()                                        # ends the workers; so does forgetting the stream

The batches are a function of ``order`` and ``(seed, epoch)`` alone: the random numbers that the dataset draws
for an item (of torch, numpy and random) are seeded by (seed, epoch, index). So they are the same bit for bit
with 0, 1 and 2 workers, and after a resume at any epoch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from trainables.data.errors import ItemError
from trainables.data.items import Layout, length_of, read_item, read_items
from trainables.data.order import drawing_from, item_key, permutation, step_sizes
from trainables.data.pool import DEATHS, checked, died, pool_of


def epoch_order(count: int, batch_size: int, key: int) -> list[Tensor]:
    """Which items each step of an epoch sees, in an order that ``key`` decides.

    Args:
        count: of the items.
        batch_size: at least 2; see :func:`trainables.data.order.step_sizes` for the last batch.
        key: such as ``mix(seed, epoch)``.
    """
    return list(permutation(count, key).split(step_sizes(count, batch_size)))


def in_order(count: int, batch_size: int) -> list[Tensor]:
    """All items by ascending index, in batches of ``batch_size``; the last one may be smaller."""
    return list(torch.arange(count).split(batch_size))


class Stream:
    """Reads batches of a map-style dataset, in worker processes or in its own.

    Args:
        dataset: with ``__len__`` and ``__getitem__`` -> (input, target); see :mod:`trainables.data.items`.
        split: for messages.
        workers: processes that read ahead, in [0, 64]; 0 (default) reads in this process. They begin with
            the first batch, serve every epoch, and end with :meth:`close`, with this object, or when this
            process dies.
        layout: of the items, if it is known; default: item 0 is read to see.

    Attributes:
        layout: what every item looks like.

    Raises:
        DataError: the dataset has no length, or item 0 cannot be used.
    """

    def __init__(self, dataset: Any, split: str, *, workers: int = 0, layout: Layout | None = None) -> None:
        if not 0 <= workers <= 64:
            raise ValueError(f"workers must be in [0, 64], got {workers=}")
        self._count = length_of(dataset, split)
        if layout is None:
            with drawing_from(0):
                layout, _ = read_item(dataset, split, 0, 0)
        self.layout = layout
        self._split = split
        self._workers = workers
        self._reader = _Reader(dataset, split, layout)
        self._requests: list[_Request] = []
        self._loader: DataLoader[Any] | None = None
        self._busy = False

    def __len__(self) -> int:
        """How many items there are."""
        return self._count

    def batches(
        self, order: Sequence[Tensor], numbers: tuple[int, int]
    ) -> Iterator[tuple[Any, Tensor, Tensor]]:
        """(inputs, targets, index) of each batch, on the CPU.

        Args:
            order: the items of each batch, int64.
            numbers: (seed, epoch), or what else decides the random numbers beside the index.

        Raises:
            ItemError: an item cannot be read, or looks unlike the first.
            DataError: a worker has died.
        """
        requests = [(index.tolist(), numbers) for index in order]
        # A second pass while the first is under way would take the workers' batches away from it.
        read = self._in_workers if self._workers and not self._busy else self._here
        for index, values in zip(order, read(requests), strict=True):
            inputs, targets = self.layout.joined(values)
            yield inputs, targets, index

    def close(self) -> None:
        """End the workers; a later pass begins new ones."""
        self._loader, self._busy = None, False

    def _here(self, requests: list[_Request]) -> Iterator[list[Tensor]]:
        for request in requests:
            with drawing_from(0):
                values = self._reader[request]
            yield checked(values)

    def _in_workers(self, requests: list[_Request]) -> Iterator[list[Tensor]]:
        self._requests[:] = requests
        if self._loader is None:
            self._loader = pool_of(self._reader, self._requests, self._workers)
        self._busy = True
        try:
            yield from map(checked, self._loader)
        except DEATHS as error:
            self._loader = None
            raise died(self._split, error) from error
        finally:
            self._busy = False


_Request = tuple[list[int], tuple[int, int]]
"""The items of a batch, and (seed, epoch)."""


class _Reader:
    """A dataset whose items are whole batches; an error is given back, and not raised through a process."""

    def __init__(self, dataset: Any, split: str, layout: Layout) -> None:
        self._dataset, self._split, self._layout = dataset, split, layout

    def __getitem__(self, request: _Request) -> list[Tensor] | ItemError:
        indices, numbers = request
        keys = [item_key(*numbers, index) for index in indices]
        try:
            stacked = read_items(self._dataset, self._split, indices, keys, self._layout)
        except ItemError as error:
            return ItemError(str(error))  # without the traceback, whose frames a process cannot send
        return [torch.from_numpy(values) for values in stacked]


def workers_for(threads: int) -> int:
    """How many workers a trial reads with that has so many processors: two, where there are two to read on.

    Args:
        threads: of the trial.
    """
    return 2 if max(threads, os.cpu_count() or 1) > 1 else 0
