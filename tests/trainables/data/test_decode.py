"""Anybody's dataset becomes arrays, and these give the same items back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.trainables.data.datasets import Given, Images, Random, normalised
from trainables.data import codes, decode
from trainables.data.decode import Items, examine, first_difference, sample_digest, spread
from trainables.data.errors import DataError, ItemError
from trainables.data.sinks import InMemory


def decoded(dataset: Any) -> InMemory:
    sink = InMemory()
    decode.decode(dataset, examine(dataset, "train"), sink, print)
    return sink


def test_normalised_images_are_kept_as_bytes_and_come_back_bit_for_bit():
    images = normalised(40)
    sink = decoded(Images(images))
    assert sink.arrays["train/input"].dtype == np.uint8
    assert sink.arrays["train/input:values"].shape == (3, 256)
    inputs, targets = Items(sink.arrays, "train").batch(torch.tensor([39, 3, 3]))
    assert torch.equal(inputs.view(torch.int32), images[[39, 3, 3]].view(torch.int32))
    assert targets.dtype == torch.int64 and targets.tolist() == [0, 0, 0]


@pytest.mark.parametrize("odd", [0, 37])
def test_images_with_too_many_values_stay_floats_wherever_that_is_found(odd, monkeypatch):
    monkeypatch.setattr(decode, "MOST_IN_CHUNK", 8)
    images = normalised(40)
    images[odd] = torch.rand(3, 8, 8)
    images[odd + 1] = torch.rand(3, 8, 8) + 1
    images[odd + 2] = torch.rand(3, 8, 8) + 2
    images[odd:, 0] += torch.arange(64).view(8, 8) / 7
    sink = decoded(Images(images))
    assert sorted(sink.arrays) == ["train/input", "train/layout", "train/target"]
    inputs, _ = Items(sink.arrays, "train").batch(torch.arange(40))
    assert inputs.dtype == torch.float32 and torch.equal(inputs, images)


def test_values_are_told_apart_by_their_bits():
    values = np.array([0.0, -0.0, np.nan, np.inf], np.float32).reshape(1, 1, 2, 2)
    encoder = codes.Encoder(1)
    encoded = encoder.encode(values)
    again = codes.decode(torch.from_numpy(encoded), torch.from_numpy(encoder.table)).numpy()
    assert again.tobytes() == values.tobytes()
    every = np.arange(256, dtype=np.float32).reshape(1, 1, 16, 16) + 1
    full = codes.Encoder(1)
    encoded = full.encode(every)
    assert np.array_equal(full.table[0][encoded], every)
    with pytest.raises(codes.TooMany):
        full.encode(np.zeros((1, 1, 1, 1), np.float32))


def test_tuples_dicts_and_numbers_of_all_kinds():
    item = (torch.ones(2, dtype=torch.float16), np.arange(3), 2.5, True, np.float64(3))
    sink = decoded(Given(*[(item, torch.tensor([1.0, 2.0]))] * 4))
    (a, b, c, d, e), targets = Items(sink.arrays, "train").batch(torch.tensor([1, 2]))
    kinds = [torch.float32, torch.int64, torch.float32, torch.bool, torch.float32]
    assert [each.dtype for each in (a, b, c, d, e)] == kinds
    assert a.shape == (2, 2) and b.tolist() == [[0, 1, 2]] * 2 and c.tolist() == [2.5, 2.5]
    assert targets.tolist() == [[1.0, 2.0]] * 2
    named = decoded(Given(*[({"ids": np.arange(4, dtype=np.int32), "mask": np.ones(4, bool)}, 1.5)] * 3))
    inputs, targets = Items(named.arrays, "train").batch(torch.tensor([0]))
    assert list(inputs) == ["ids", "mask"] and inputs["ids"].dtype == torch.int32
    assert targets.dtype == torch.float32 and "train/input.mask" in named.arrays


@pytest.mark.parametrize(
    ("items", "said"),
    [
        (
            [(torch.zeros(3, 32, 32), 0), (torch.zeros(3, 31, 32), 0)],
            r"\[1\] gives an input of shape \(3, 31, 32\), and \[0\] one of \(3, 32, 32\): pad or crop",
        ),
        ([(1.0, 0), (1, 0)], r"\[1\] gives an input of int64, and \[0\] one of float32: convert"),
        ([(1.0, 0), ((1.0,), 0)], r"\[1\] gives a tuple of 0 as its input, and \[0\] one tensor"),
        ([({"a": 1}, 0), ({"b": 1}, 0)], r"a dict of b as its input, and \[0\] a dict of a as its input"),
        ([(1.0, 0), (1.0, [2])], r"\[1\] gives a target of type list: give a tensor"),
        ([(1.0, 0), 5], r"\[1\] gives a int: return \(input, target\)"),
        ([(1.0, 0), ({}, 0)], r"\[1\] gives an empty dict"),
        ([(1.0, 0), (1j * torch.ones(2), 0)], r"gives an input of complex64: give floats"),
        ([(1.0, 0), (2**70, 0)], r"which 64 bits do not hold"),
        (
            [(1.0, 0), ValueError("broken\nfile")],
            r"\[1\] cannot be read: ValueError: broken file \(.*datasets\.py, line \d+\); repair",
        ),
    ],
)
def test_an_item_that_cannot_be_used_is_one_sentence(items, said):
    with pytest.raises(ItemError, match=said) as raised:
        decoded(Given(*items))
    assert "\n" not in str(raised.value)


def test_the_first_item_that_cannot_be_used_is_named_by_a_pool_too(monkeypatch):
    monkeypatch.setattr(decode, "POOL_SECONDS", 0.0)
    monkeypatch.setattr(decode, "MOST_IN_CHUNK", 4)
    monkeypatch.setattr(decode.os, "sched_getaffinity", lambda process: {0, 1})
    items: list[Any] = [(float(number), number) for number in range(60)]
    assert Items(decoded(Given(*items)).arrays, "train").batch(torch.tensor([41]))[1].tolist() == [41]
    items[33] = items[50] = KeyError("no such label")
    with pytest.raises(ItemError, match=r"\[33\] cannot be read: KeyError: 'no such label'"):
        decoded(Given(*items))


def test_a_dataset_that_draws_random_numbers_is_known_and_not_decoded():
    found = examine(Random(), "train")
    assert found.random and not examine(Images(normalised(5)), "train").random
    with pytest.raises(ValueError, match="draws random numbers"):
        decode.decode(Random(), found, InMemory(), print)


def test_datasets_without_a_length_or_items():
    with pytest.raises(DataError, match=r'data\("test"\) is empty: return at least one'):
        examine(Given(), "test")
    with pytest.raises(DataError, match="a generator without a length"):
        examine((number for number in range(3)), "train")


def test_reading_leaves_the_random_states_as_they_were():
    torch.manual_seed(1), np.random.seed(1)
    expected = torch.rand(1), np.random.rand()
    torch.manual_seed(1), np.random.seed(1)
    sample_digest(Random(), examine(Random(), "train"), 10)
    assert torch.equal(torch.rand(1), expected[0]) and np.random.rand() == expected[1]


def test_the_digest_sees_the_length_and_the_ends():
    images = normalised(50)
    dataset = Images(images)
    found = examine(dataset, "train")
    names = {sample_digest(dataset, found, 5)}
    for changed in (0, 49):
        other = images.clone()
        other[changed, 0, 0, 0] += 1
        names.add(sample_digest(Images(other), found, 5))
    shorter = Images(torch.cat([images[:-2], images[-1:]]))
    names.add(sample_digest(shorter, examine(shorter, "train"), 5))
    assert len(names) == 4 and sample_digest(Images(images.clone()), found, 5) in names
    assert spread(50, 5) == [0, 12, 24, 37, 49] and spread(3, 5) == [0, 1, 2] and spread(1, 5) == [0]


def test_the_first_item_that_has_changed_is_found():
    images = normalised(50)
    dataset = Images(images.clone())
    items, found = Items(decoded(dataset).arrays, "train"), examine(dataset, "train")
    assert first_difference(dataset, found, items) is None
    dataset.images[[17, 31], 2, 1, 1] += 1
    assert first_difference(dataset, found, items) == 17
