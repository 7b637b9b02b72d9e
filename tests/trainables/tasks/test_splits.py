"""Stratified splits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.tasks.splits import proportional, stratified


@given(st.lists(st.integers(1, 50), min_size=1, max_size=8), st.floats(0, 1))
def test_shares_sum_to_the_total_and_are_within_one_of_the_quota(sizes: list[int], share: float) -> None:
    total = round(share * sum(sizes))
    shares = proportional(np.array(sizes), total)
    assert shares.sum() == total
    assert np.all(np.abs(shares - total * np.array(sizes) / sum(sizes)) < 1)
    assert np.all(shares <= sizes)


@given(st.lists(st.integers(3, 30), min_size=1, max_size=6), st.integers(0, 100))
def test_splits_are_disjoint_complete_and_of_the_counts_asked_for(sizes: list[int], seed: int) -> None:
    labels = np.random.RandomState(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    counts = np.array(sizes) // 3
    sets = stratified(labels, [counts, counts])
    assert sorted(np.concatenate(sets).tolist()) == list(range(len(labels)))
    for held_out in sets[1:]:
        assert np.array_equal(np.bincount(labels[held_out], minlength=len(sizes)), counts)
    assert all(np.array_equal(a, b) for a, b in zip(sets, stratified(labels, [counts, counts]), strict=True))


def test_a_class_cannot_give_more_than_it_has() -> None:
    with pytest.raises(ValueError, match="class 1 has 2 samples, of which 3"):
        stratified(np.array([0, 0, 0, 1, 1]), [np.array([1, 3])])
