"""Streamed batches are a function of order, seed and epoch, whoever reads them."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.trainables.data.datasets import Given, Random
from trainables.calling import tensors_of
from trainables.data.decode import _chunks
from trainables.data.errors import DataError, ItemError
from trainables.data.stream import Stream, epoch_order, in_order


def bits(stream: Stream, epoch: int) -> list[bytes]:
    order = epoch_order(len(stream), 5, epoch)
    return [
        b"".join(tensor.numpy().tobytes() for tensor in (*tensors_of(inputs), targets, index))
        for inputs, targets, index in stream.batches(order, (7, epoch))
    ]


def test_batches_are_the_same_with_any_number_of_workers_and_after_a_resume():
    alone = Stream(Random(), "train")
    expected = [bits(alone, epoch) for epoch in range(3)]
    assert len({batch for epoch in expected for batch in epoch}) == 15
    for workers in (1, 2):
        stream = Stream(Random(), "train", workers=workers)
        assert [bits(stream, epoch) for epoch in range(3)] == expected
        assert bits(stream, 1) == expected[1]
        stream.close()
    assert bits(Stream(Random(), "train", workers=2), 2) == expected[2]


def test_what_is_drawn_for_an_item_depends_on_seed_and_epoch_alone():
    stream = Stream(Random(), "train")
    [(one, targets, index)] = stream.batches([torch.tensor([4, 9])], (1, 0))
    [(other, _, _)] = stream.batches([torch.tensor([9, 4])], (1, 0))
    [(later, _, _)] = stream.batches([torch.tensor([4, 9])], (1, 1))
    assert targets.tolist() == index.tolist() == [4, 9]
    for name in ("torch", "numpy", "python"):
        assert torch.equal(one[name], other[name].flip(0)) and not torch.equal(one[name], later[name])


@pytest.mark.parametrize("workers", [0, 2])
def test_training_draws_what_it_would_draw_without_a_stream(workers):
    stream = Stream(Random(), "train", workers=workers)
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    bits(stream, 0)
    assert torch.equal(torch.rand(2), expected)


def test_a_pass_that_is_left_and_one_within_another():
    stream = Stream(Random(), "train", workers=2)
    expected = bits(stream, 1)
    left = stream.batches(epoch_order(len(stream), 5, 0), (7, 0))
    next(left)
    assert bits(stream, 1) == expected  # while the other is under way
    left.close()
    assert bits(stream, 1) == expected


@pytest.mark.parametrize("end", [lambda stream: stream.close(), lambda stream: None])
def test_workers_end_with_the_stream(end):
    gc.collect()
    before = set(multiprocessing.active_children())
    stream = Stream(Random(), "train", workers=2)
    bits(stream, 0)
    mine = set(multiprocessing.active_children()) - before
    assert len(mine) == 2
    end(stream)
    del stream
    assert not mine & set(multiprocessing.active_children())


@pytest.mark.parametrize("workers", [0, 2])
def test_an_item_that_cannot_be_read_is_one_sentence(workers):
    items: list[Any] = [(float(number), number) for number in range(20)]
    items[13] = OSError("no such file")
    stream = Stream(Given(*items), "train", workers=workers)
    with pytest.raises(
        ItemError, match=r'data\("train"\)\[13\] cannot be read: OSError: no such file'
    ) as raised:
        list(stream.batches(in_order(20, 4), (0, 0)))
    assert "\n" not in str(raised.value)


class Deadly(Given):
    def __getitem__(self, index: int) -> Any:
        if index == 9 and multiprocessing.parent_process() is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(index)


def test_a_worker_that_dies_is_one_sentence():
    stream = Stream(Deadly(*[(1.0, 0)] * 20), "train", workers=1)
    with pytest.raises(DataError, match=r'a process that reads data\("train"\) has died .* make batches'):
        list(stream.batches(in_order(20, 4), (0, 0)))


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RuntimeError("worker (pid 7) is killed"), r"worker \(pid 7\) is killed"),
        (ConnectionResetError(104, "Connection reset by peer"), r"\[Errno 104\] Connection reset by peer"),
        (EOFError(), "EOFError"),
    ],
)
def test_whatever_a_dead_worker_leads_to_is_one_sentence(monkeypatch, error, told):
    """It depends on what was being read from it when it died."""

    def broken(*given):
        yield torch.zeros(1)[None]
        raise error

    for module in ("stream", "decode"):
        monkeypatch.setattr(f"trainables.data.{module}.pool_of", broken)
    stream = Stream(Given(*[(1.0, 0)] * 20), "train", workers=1)
    with pytest.raises(DataError, match=rf"has died \({told}\); if memory"):
        list(stream._in_workers([([0], (0, 0))] * 2))
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0, 1})
    found = SimpleNamespace(seconds=1e6, count=20, split="train", layout=SimpleNamespace(nbytes=2**20))
    with pytest.raises(DataError, match=rf"has died \({told}\); if memory"):
        list(_chunks(Given(*[(1.0, 0)] * 20), found, range(20)))


def test_an_epoch_has_no_step_of_one_sample():
    assert [len(step) for step in epoch_order(11, 5, 0)] == [5, 6]
    assert sorted(torch.cat(epoch_order(11, 5, 0)).tolist()) == list(range(11))
    assert [len(step) for step in in_order(11, 5)] == [5, 5, 1]
