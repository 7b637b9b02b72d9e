"""Augmentation a block at a time, so that a view of the data can be seen again in another order.

A user's ``augment(inputs, generator)`` works on whole batches. Which samples are in a batch differs from
epoch to epoch, so what it makes of one could never be asked for again. It is therefore given blocks of always
the same samples, and an epoch mixes many blocks before it cuts batches. The view is a function of (key,
block).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from trainables.calling import Inputs, mapped, samples_of, tensors_of
from trainables.data.decode import Items
from trainables.data.order import item_key, permutation

BLOCK = 32
"""Samples that are augmented together."""
POOL_BYTES = 64 * 2**20
"""Of samples that are mixed with one another, about."""
FEWEST, MOST = 4, 64
"""Blocks that are mixed."""

Augment = Callable[[Inputs, torch.Generator], Inputs]
Samples = tuple[Inputs, Tensor, Tensor]
"""Inputs, targets and numbers of samples."""


class Augmented:
    """The samples of a training split in augmented views.

    Args:
        items: of the split.
        augment: gives new inputs of as many samples, given inputs and a generator.
    """

    def __init__(self, items: Items, augment: Augment) -> None:
        self._items, self._augment = items, augment
        count = len(items)
        blocks = -(-count // BLOCK)
        # Strided, so that a block of samples that lie in the order of their classes has all of them.
        self._blocks = [torch.arange(first, count, blocks) for first in range(blocks)]

    def in_blocks(self, key: tuple[int, ...]) -> Iterator[Samples]:
        """Every sample once, in the view ``key``, block by block."""
        return (self._seen(number, key) for number in range(len(self._blocks)))

    def mixed(self, key: tuple[int, ...], order: int, sizes: list[int]) -> Iterator[Samples]:
        """Every sample once, in the view ``key``, in batches.

        Args:
            key: of the view.
            order: decides in which order.
            sizes: of the batches, which add up to all samples.
        """
        left = iter(sizes)
        wanted = next(left, 0)
        held: Samples | None = None
        pools = permutation(len(self._blocks), order).split(self._pool())
        for number, pool in enumerate(pools):
            seen = [self._seen(int(block), key) for block in pool]
            held = _joined(seen if held is None else [held, *seen])
            held = _chosen(held, permutation(len(held[2]), item_key(order, number)))
            last = number == len(pools) - 1
            # What is left over is mixed with the next blocks.
            while wanted and len(held[2]) >= wanted + (0 if last else BLOCK):
                yield _chosen(held, slice(0, wanted))
                held = _chosen(held, slice(wanted, None))
                wanted = next(left, 0)

    def _pool(self) -> int:
        first, _, _ = self._read(0)
        size = sum(tensor.nbytes for tensor in tensors_of(first))
        return min(MOST, max(FEWEST, POOL_BYTES // max(1, size)))

    def _read(self, number: int) -> Samples:
        index = self._blocks[number]
        inputs, targets = self._items.batch(index)
        return inputs, targets, index

    def _seen(self, number: int, key: tuple[int, ...]) -> Samples:
        inputs, targets, index = self._read(number)
        generator = torch.Generator().manual_seed(item_key(*key, number))
        found = self._augment(inputs, generator)
        if samples_of(found) != len(index):
            raise ValueError(
                f"augment(inputs, generator) must give as many samples as it gets, {len(index)}, got "
                f"{samples_of(found)}"
            )
        return found, targets, index


def _joined(parts: list[Samples]) -> Samples:
    """All samples of ``parts`` together."""
    first = parts[0][0]
    inputs: Any
    if isinstance(first, dict):
        inputs = {name: torch.cat([part[0][name] for part in parts]) for name in first}
    elif isinstance(first, tuple):
        inputs = tuple(torch.cat(values) for values in zip(*(part[0] for part in parts), strict=True))
    else:
        inputs = torch.cat([part[0] for part in parts])
    return inputs, torch.cat([part[1] for part in parts]), torch.cat([part[2] for part in parts])


def _chosen(samples: Samples, which: Any) -> Samples:
    inputs, targets, index = samples
    return mapped(lambda tensor: tensor[which], inputs), targets[which], index[which]
