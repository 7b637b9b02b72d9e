"""All splits of a user's data: kept, held in memory or streamed, and compared with what is kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.trainables.data.datasets import Images, normalised
from trainables.data import datasets, keeping
from trainables.data.datasets import decoded
from trainables.data.decode import Items
from trainables.data.errors import DataError
from trainables.data.kept import KeptArrays


@pytest.fixture
def splits(monkeypatch):
    monkeypatch.setattr(datasets, "KEPT_FROM", 1000)
    images = normalised(60)
    return {
        "train": Images(images[:40].clone()),
        "validation": Images(images[40:50].clone()),
        "test": Images(images[50:].clone()),
    }


def test_all_splits_are_kept_and_found_again(splits, tmp_path, monkeypatch):
    lines: list[str] = []
    first = decoded(splits, tmp_path, lines.append)
    monkeypatch.setattr(datasets, "decode", lambda *arguments: pytest.fail("it is there already"))
    second = decoded(splits, tmp_path, lines.append)
    assert isinstance(first.arrays, KeptArrays) and isinstance(second.arrays, KeptArrays)
    assert first.arrays.folder == second.arrays.folder and not first.streamed and not lines
    inputs, targets = Items(second.arrays, "test").batch(torch.tensor([3]))
    assert torch.equal(inputs[0], splits["test"].images[3]) and targets.tolist() == [0]


def test_an_edited_item_that_is_not_among_those_that_name_the_data_is_met(splits, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "SAMPLE", 3)
    first = decoded(splits, tmp_path, print)
    splits["train"].images[7, 0, 0, 0] += 1
    lines: list[str] = []
    second = decoded(splits, tmp_path, lines.append)
    assert (
        second.digests == first.digests and len(lines) == 1 and 'data("train")[7] is another one' in lines[0]
    )
    assert torch.equal(
        Items(second.arrays, "train").batch(torch.tensor([7]))[0][0], splits["train"].images[7]
    )


def test_where_reading_all_takes_long_it_is_said_how_many_were_read(splits, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "SAMPLE", 3)
    monkeypatch.setattr(datasets, "COMPARED_SECONDS", 0.0)
    decoded(splits, tmp_path, print)
    lines: list[str] = []
    decoded(splits, tmp_path, lines.append)
    assert lines == ["using the kept data, of which 9 of 60 items were read again and are the same"]


def test_training_data_that_draw_random_numbers_are_streamed(splits, tmp_path):
    splits["train"].noise = True
    found = decoded(splits, tmp_path, print)
    assert found.streamed == 'data("train") draws random numbers'
    assert not any(name.startswith("train/") for name in found.arrays) and "test/input" in found.arrays


def test_other_data_must_not_draw_random_numbers(splits, tmp_path):
    splits["validation"].noise = True
    with pytest.raises(DataError, match=r'data\("validation"\) gives other values when it is read again'):
        decoded(splits, tmp_path, print)


@pytest.mark.parametrize(("free", "streamed"), [(1e12, False), (1e4, True)])
def test_without_room_on_the_disk_they_are_held_or_streamed(splits, tmp_path, monkeypatch, free, streamed):
    monkeypatch.setattr(
        keeping.shutil, "disk_usage", lambda path: keeping.shutil._ntuple_diskusage(1e9, 0, 0)
    )
    monkeypatch.setattr(datasets, "memory_free", lambda: free)
    lines: list[str] = []
    found = decoded(splits, tmp_path, lines.append)
    assert bool(found.streamed) == streamed and ("train/input" in found.arrays) != streamed
    assert isinstance(found.arrays["test/input"], np.ndarray)
    assert "cannot be kept in the store" in (found.streamed or lines[0])


def test_small_data_stay_in_memory(splits, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "KEPT_FROM", 8_000_000)
    assert isinstance(decoded(splits, tmp_path, print).arrays, dict) and not list(tmp_path.iterdir())
    assert isinstance(decoded(splits, None, print).arrays, dict)
