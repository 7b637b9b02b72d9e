"""Codeword lengths against a heap of trees, and against the published implementation's mean lengths."""

from __future__ import annotations

import heapq
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainables.huffman import code_bits, code_lengths
from trainables.quantizers.kernels.uniform import uniform_codes

COUNTS = st.lists(st.integers(1, 10**6) | st.integers(1, 3), max_size=60)


def heap_lengths(counts: list[int]) -> list[int]:
    """The textbook's tree; among equal weights the flattest first, which gives the shortest longest word."""
    tick = itertools.count()
    heap = [(count, 0, next(tick), [symbol]) for symbol, count in enumerate(counts)]
    heapq.heapify(heap)
    lengths = [0] * len(counts)
    while len(heap) > 1:
        left, right = heapq.heappop(heap), heapq.heappop(heap)
        for symbol in left[3] + right[3]:
            lengths[symbol] += 1
        height = max(left[1], right[1]) + 1
        heapq.heappush(heap, (left[0] + right[0], height, next(tick), left[3] + right[3]))
    return lengths


@given(COUNTS.filter(lambda counts: len(counts) > 1))
def test_lengths_are_those_of_an_optimal_tree(counts: list[int]) -> None:
    lengths, expected = code_lengths(np.array(counts)), heap_lengths(counts)
    total = int(lengths @ np.array(counts))
    assert total == code_bits(np.array([0, *counts, 0])) == sum(map(int.__mul__, expected, counts))
    assert lengths.max() == max(expected)
    assert sum(2.0**-length for length in lengths) == 1.0  # Kraft: no codeword could be shorter
    shares = np.array(counts) / sum(counts)
    entropy = float(-(shares * np.log2(shares)).sum())
    assert entropy - 1e-9 <= total / sum(counts) < entropy + 1


def test_the_ends_of_the_alphabet() -> None:
    assert code_lengths(np.array([], dtype=np.int64)).tolist() == []
    assert code_lengths(np.array([7])).tolist() == [1]
    assert code_bits(np.zeros(4, dtype=np.int64)) == 0
    assert code_lengths(np.array([1, 1, 2, 3, 5, 8, 13])).tolist() == [6, 6, 5, 4, 3, 2, 1]
    lengths = code_lengths(np.ones(2**18, dtype=np.int64))
    assert lengths.min() == lengths.max() == 18
    with pytest.raises(ValueError, match=r"above zero.*0"):
        code_lengths(np.array([1, 0]))


def test_mean_lengths_agree_with_the_published_implementation(shared_dir: Path) -> None:
    """Of the quantized distillation paper; of a single symbol it has a mean of 0, which no vector covers."""
    folder = shared_dir / "golden"
    if not folder.is_dir():
        pytest.skip("the reference implementation's vectors are not part of the repository")
    arrays = np.load(folder / "quantization.npz")
    cases = [c for c in json.loads((folder / "quantization.json").read_text()) if c["huffman_mean_bits"]]
    assert len(cases) > 100
    for case in cases:
        values = torch.from_numpy(arrays[f"{case['case']}_x"])
        counts = np.bincount(uniform_codes(values, case["bits"], case["bucket"]).numbers.reshape(-1).numpy())
        assert code_bits(counts) / counts.sum() == pytest.approx(case["huffman_mean_bits"], abs=1e-9), case
