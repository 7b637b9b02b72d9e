"""Allocations that fail are said in one sentence, whoever's they are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from trainables.training.out_of_memory import out_of_memory

MEANT = ": make batches or images smaller, or run fewer trials at a time (--concurrency)"


@pytest.mark.parametrize(
    ("allocate", "size"),
    [(lambda: torch.empty(10**14), "400 TB"), (lambda: np.zeros((10**8, 10**6)), "800 TB")],
)
def test_a_failed_allocation_says_its_size(allocate: Callable[[], object], size: str) -> None:
    with pytest.raises((RuntimeError, MemoryError)) as raised:
        allocate()
    assert out_of_memory(raised.value) == f"memory ran out at an allocation of {size}{MEANT}"


def test_words_of_cuda_and_of_python() -> None:
    cuda = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has ...")
    assert out_of_memory(cuda) == f"memory ran out at an allocation of 2.68 GB{MEANT}"
    assert out_of_memory(MemoryError()) == f"memory ran out at an allocation{MEANT}"


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), ValueError("out of memory"), KeyError(1)])
def test_other_errors_are_none(error: Exception) -> None:
    assert out_of_memory(error) == ""
