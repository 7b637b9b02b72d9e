"""In which order samples are seen, and what random numbers a dataset draws for one of them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor


def permutation(count: int, key: int) -> Tensor:
    """The numbers below ``count`` in an order that ``key`` decides, int64.

    Drawn on the CPU whatever the device, so that the order of an epoch is the same everywhere.
    """
    return torch.randperm(count, generator=torch.Generator().manual_seed(key))


def step_sizes(count: int, batch_size: int) -> list[int]:
    """How many of ``count`` samples each step of an epoch sees.

    The last one may see fewer than ``batch_size``, but never one alone, which batch normalisation cannot
    use: it joins the step before.
    """
    whole, rest = divmod(count, batch_size)
    sizes = [batch_size] * whole
    if rest == 1 and whole:
        sizes[-1] += 1
    elif rest:
        sizes.append(rest)
    return sizes


def item_key(*numbers: int) -> int:
    """A seed below 2^63 for one item, from whole numbers such as (seed, epoch, index)."""
    text = repr(numbers).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


@contextmanager
def drawing_from(key: int) -> Iterator[None]:
    """Let torch (on the CPU), numpy and random draw from ``key``; afterwards they go on where they were."""
    before = torch.default_generator.get_state(), np.random.get_state(), random.getstate()
    try:
        seed_all(key)
        yield
    finally:
        torch.default_generator.set_state(before[0])
        np.random.set_state(before[1])
        random.setstate(before[2])


def seed_all(key: int) -> None:
    """Let torch (on the CPU), numpy and random draw from ``key`` from now on."""
    # Not torch.manual_seed, which seeds GPUs as well: a worker process must not touch them.
    torch.default_generator.manual_seed(key)
    np.random.seed(key % 2**32)
    random.seed(key)
