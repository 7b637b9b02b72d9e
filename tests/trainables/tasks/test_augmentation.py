"""Augmentation as a pure function of (seed, view, index)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainables.tasks.augmentation import augment, mix, mix_tensor

INT64 = st.integers(0, 2**63 - 1)


def splitmix64(state: int) -> int:
    """The published reference, in numpy's unsigned arithmetic: one output of the generator at ``state``."""
    with np.errstate(over="ignore"):
        z = np.uint64(state) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return int(z ^ (z >> np.uint64(31)))


def test_mix_is_splitmix64() -> None:
    assert mix(0) == splitmix64(0) == 0xE220A8397B1DCDAF  # the generator's published first output for seed 0
    assert mix(1234567) == splitmix64(1234567) == 6457827717110365317


@given(INT64, INT64, st.lists(st.integers(0, 2**62), min_size=1, max_size=20))
def test_tensor_and_integer_hash_agree(seed: int, view: int, index: list[int]) -> None:
    hashed = mix_tensor(mix(seed, view), torch.tensor(index))
    assert [int(h) % 2**64 for h in hashed] == [mix(seed, view, i) for i in index]


def positions(
    seed: int, view: int, count: int, padding: int, flip: bool = False
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(row offset, column offset, flipped) of each sample, read off images with two marked pixels."""
    side = 2 * padding + 4
    images = torch.zeros(count, 1, side, side, dtype=torch.uint8)
    images[:, 0, padding + 1, padding + 1] = 1
    images[:, 0, padding + 1, padding + 2] = 2
    out = augment(images, seed, view, torch.arange(count), padding=padding, flip=flip)
    ones, twos = (out == 1).nonzero(), (out == 2).nonzero()
    assert len(ones) == len(twos) == count
    flipped = ones[:, 3] > twos[:, 3]
    left = torch.where(flipped, side - 1 - ones[:, 3], ones[:, 3])
    return ones[:, 2] - padding - 1, left - padding - 1, flipped


def test_offsets_and_flips_are_uniform_and_independent() -> None:
    padding, count = 2, 20_000
    rows, columns, flipped = positions(seed=5, view=3, count=count, padding=padding, flip=True)
    side = 2 * padding + 1
    cell = ((rows + padding) * side + columns + padding) * 2 + flipped
    counts = torch.bincount(cell, minlength=2 * side * side).double()
    expected = count / (2 * side * side)
    chi2 = float(((counts - expected) ** 2 / expected).sum())
    assert chi2 < 85.4  # 99.9 % quantile of chi-squared with 49 degrees of freedom


def test_views_seeds_and_neighbours_are_independent() -> None:
    one = torch.stack(positions(0, 0, 4000, 4)[:2]).double().flatten()
    for other in (positions(0, 1, 4000, 4), positions(1, 0, 4000, 4)):
        correlation = torch.corrcoef(torch.stack([one, torch.stack(other[:2]).double().flatten()]))[0, 1]
        assert abs(float(correlation)) < 0.05
    assert abs(float(torch.corrcoef(torch.stack([one[:-1], one[1:]]))[0, 1])) < 0.05


@given(st.integers(0, 2**31 - 1), st.integers(0, 1000), st.integers(0, 3), st.booleans())
def test_a_sample_does_not_depend_on_its_batch(seed: int, view: int, padding: int, flip: bool) -> None:
    images = torch.randint(0, 256, (12, 3, 8, 6), dtype=torch.uint8)
    index = torch.randperm(1000)[:12]
    whole = augment(images, seed, view, index, padding=padding, flip=flip)
    order = torch.randperm(12)
    assert torch.equal(
        augment(images[order], seed, view, index[order], padding=padding, flip=flip), whole[order]
    )
    alone = augment(images[7:8], seed, view, index[7:8], padding=padding, flip=flip)
    assert torch.equal(alone, whole[7:8])


@pytest.mark.parametrize("flip", [False, True])
def test_each_image_is_a_zero_filled_window_of_itself(flip: bool) -> None:
    padding, images = 2, torch.randint(1, 256, (50, 2, 5, 6), dtype=torch.uint8)
    before = images.clone()
    out = augment(images, 1, 1, torch.arange(50), padding=padding, flip=flip)
    assert torch.equal(images, before)
    for image, moved in zip(images.numpy(), out.numpy(), strict=True):
        framed = np.pad(image, ((0, 0), (padding, padding), (padding, padding)))
        windows = [framed[:, y : y + 5, x : x + 6] for y in range(5) for x in range(5)]
        windows += [window[:, :, ::-1] for window in windows] if flip else []
        assert any(np.array_equal(window, moved) for window in windows)


def test_nothing_happens_without_padding_and_flip() -> None:
    images = torch.randint(0, 256, (4, 1, 5, 5), dtype=torch.uint8)
    assert torch.equal(augment(images, 0, 9, torch.arange(4), padding=0, flip=False), images)
