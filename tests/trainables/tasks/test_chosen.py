"""Chosen samples of every kind of task are those of its splits in order, as they are."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

from studies.job import study_of_file
from tests.studies.own_files import NET, REGRESSION, write
from tests.trainables.translation import write_pairs
from trainables.calling import tensors_of
from trainables.tasks import Digits
from trainables.tasks.grouped import Grouped
from trainables.tasks.multi_task import MultiTask

CPU = torch.device("cpu")
STREAMED = NET.replace("return TensorDataset(INPUTS[part], LABELS[part])", "return Drawn(part)").replace(
    "def network", "class Drawn:\n"
    "    def __init__(self, part):\n"
    "        self.numbers, self.drawn = range(300)[part], part.start == 0\n"
    "    def __len__(self):\n"
    "        return len(self.numbers)\n"
    "    def __getitem__(self, number):\n"
    "        noise = torch.rand(()) if self.drawn else 0.0\n"
    "        return INPUTS[self.numbers[number]] + noise, LABELS[self.numbers[number]]\n\n\n"
    "def network"
)  # fmt: skip
numbers = count()


def digits(folder: Path) -> Any:
    return Digits()


def several(folder: Path) -> Any:
    return MultiTask((Digits(), Grouped(Digits(), (0, 1) * 5)))


def text(folder: Path) -> Any:
    return write_pairs(folder)


def own(folder: Path, written: str = NET) -> Any:
    return study_of_file(write(folder, written, f"chosen_net_{next(numbers)}")).make_task(None, {})


def two_inputs(folder: Path) -> Any:
    return own(folder, REGRESSION)


def streamed(folder: Path) -> Any:
    return own(folder, STREAMED)


@pytest.mark.parametrize("kind", [digits, several, text, own, two_inputs, streamed])
def test_they_are_those_of_the_split_in_order(kind: Any, tmp_path: Path) -> None:
    task = kind(tmp_path)
    loaded = task.open(task.load(tmp_path if kind is text else None), CPU, 0)
    size = loaded.samples("train")
    chosen = torch.tensor(sorted({0, 1, size // 2, size - 1}))
    found = list(loaded.chosen("train", chosen))
    assert torch.cat([batch.index for batch in found]).tolist() == chosen.tolist()
    rows = {int(n): row for batch in loaded.in_order("train") for n, row in _rows(batch)}
    for batch in found:
        assert batch.view is None
        for number, row in _rows(batch):
            assert all(map(_same, row, rows[int(number)]))


def _rows(batch: Any) -> Any:
    """The number of each sample, and its inputs and target."""
    values = [*tensors_of(batch.inputs), batch.targets]
    return zip(batch.index, zip(*values, strict=True), strict=True)


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether they are equal but for padding, of which another batch may have more."""
    if one.dim() == 1 and one.dtype == torch.int64:
        size = min(len(one), len(other))
        return torch.equal(one[:size], other[:size]) and not bool(one[size:].any() or other[size:].any())
    return torch.equal(one, other)
