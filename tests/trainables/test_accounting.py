"""Published accountings against their closed forms and figures, and against counting the slow way."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainables.test_huffman import heap_lengths
from trainables.codecs.base import Stored
from trainables.methods import Setting, full_precision
from trainables.models import ConvNet
from trainables.origins import Fresh
from trainables.quantizers.base import Codes, Dense, MixedCodes
from trainables.shipping.accounting import ACCOUNTINGS, FILE, FP32, account
from trainables.shipping.packed_file import describe, pack, unpack
from trainables.shipping.published_sizes import (
    BUCKETED,
    DROPPED,
    FULL_PRECISION,
    MIXED,
    NOT_A_MATRIX,
    NOT_A_WEIGHT,
    Size,
    bit_packed_bytes,
    deep_compression,
    deep_compression_code,
    ham_code_bits,
    ham_printed_bits,
    matrix_of,
    quantized_distillation,
    relative_index,
    sham_code_bits,
    sham_corrected_bits,
    sham_printed_bits,
    shared_code,
)
from trainables.tasks import Digits

RECIPE = full_precision(Setting(Digits(), Fresh(ConvNet(depth=1)), epochs=4))


def uniform(
    index: np.ndarray, bits: int, bucket_size: int | None, dtype: torch.dtype = torch.float32, **fields: Any
) -> Codes:
    """Level numbers on an even grid; buckets differ in their offsets, so that they share no value."""
    flat = torch.from_numpy(index.astype(np.uint8)).reshape(-1)
    buckets = 1 if bucket_size is None else -(-flat.numel() // bucket_size)
    offset = torch.linspace(0.25, 0.75, buckets, dtype=dtype)
    fields = {"shape": index.shape, "offset": offset, "scale": torch.ones(buckets, dtype=dtype)} | fields
    return Codes(index=flat, bits=bits, bucket_size=bucket_size, **fields)


def balanced(bits: int, count: int, shape: tuple[int, ...]) -> np.ndarray:
    """Every level equally often, so that a Huffman code is no shorter than ``bits`` bits."""
    return (np.arange(count) % 2**bits).reshape(shape)


def pruned(matrix: np.ndarray) -> Dense:
    """A matrix as a tensor: one row per output."""
    values = torch.from_numpy(np.ascontiguousarray(matrix.T, dtype=np.float32))
    return Dense(values, values != 0)


def slow_bits(symbols: list[Any]) -> int:
    """All codewords written one after the other; a single symbol takes one bit."""
    counts = Counter(symbols)
    if len(counts) == 1:
        return len(symbols)
    return sum(
        count * length
        for count, length in zip(counts.values(), heap_lengths([*counts.values()]), strict=True)
    )


@pytest.mark.parametrize(("bits", "ratio"), [(2, 14.22), (4, 7.53), (8, 3.88)])
def test_quantized_distillation_has_the_published_ratios(bits: int, ratio: float) -> None:
    tensor = uniform(balanced(bits, 2**16, (256, 256)), bits, 256)
    size = quantized_distillation(tensor, shared_code({"w": tensor}))
    assert size.bytes == 2**16 * bits / 8 + 8 * 2**16 / 256 and size.note is None
    assert round(4 * 2**16 / size.bytes, 2) == ratio


def test_quantized_distillation_shares_one_code_and_rounds_nothing() -> None:
    generator = np.random.default_rng(0)
    first = uniform(generator.binomial(15, 0.5, (10, 30)), 4, 256)
    second = uniform(generator.binomial(3, 0.2, (7, 11)), 2, None, torch.float16)
    keep = torch.from_numpy(generator.random((8, 25)) < 0.3)
    third = uniform(generator.binomial(3, 0.5, int(keep.sum())), 2, 16, shape=(8, 25), keep=keep)
    dense = Dense(torch.ones(5, dtype=torch.float16))
    tensors: dict[str, Stored] = {"first": first, "second": second, "third": third, "dense": dense}
    lengths = shared_code(tensors)
    sizes = {name: quantized_distillation(tensor, lengths) for name, tensor in tensors.items()}
    symbols: list[Any] = [*first.index.tolist(), *second.index.tolist(), *third.index.tolist()]
    symbols += ["dropped"] * int((~keep).sum())
    expected = slow_bits(symbols) / 8 + 8 * 300 / 256 + 8 * int(keep.sum()) / 16 + 4 * 5
    assert sum(size.bytes for size in sizes.values()) == pytest.approx(expected)
    assert [size.note for size in sizes.values()] == [None, None, DROPPED, None]
    alone = uniform(np.zeros((3, 100)), 2, None)  # where the published code counts no bits at all
    assert quantized_distillation(alone, shared_code({"w": alone})).bytes == 300 / 8


@pytest.mark.parametrize(
    ("bucket_size", "ratios"),
    [
        (64, {2: (10.67, 12.80), 4: (6.40, 7.11), 8: (3.56, 3.76)}),
        (256, {2: (14.22, 15.06), 4: (7.53, 7.76), 8: (3.88, 3.94)}),
        (1024, {2: (15.52, 15.75), 4: (7.88, 7.94), 8: (3.97, 3.98)}),
    ],
)
def test_bit_packed_has_the_ratios_of_its_formula(
    bucket_size: int, ratios: dict[int, tuple[float, float]]
) -> None:
    for bits, expected in ratios.items():
        for dtype, ratio in zip((torch.float32, torch.float16), expected, strict=True):
            size = bit_packed_bytes(uniform(np.zeros((64, 128)), bits, bucket_size, dtype))
            assert round(4 * 64 * 128 / size, 2) == ratio


def test_bit_packed_rounds_each_stream_up_and_counts_masks_and_codebooks() -> None:
    keep = torch.tensor([[True, False, True], [True, True, True]])
    book = uniform(np.zeros(5), 3, 2, shape=(2, 3), keep=keep, codebook=torch.rand(5))
    assert bit_packed_bytes(book) == 1 + 2 + 2 * 3 * 4 + 5 * 4
    centred = uniform(np.zeros((3, 3)), 3, None, torch.float16, offset=None, zero=3)
    assert bit_packed_bytes(centred) == 4 + 2
    assert bit_packed_bytes(Dense(torch.ones(2, 3).half() * keep, keep)) == 1 + 5 * 2


def slow_gaps(positions: list[int], bits: int) -> tuple[list[int], list[bool]]:
    """A gap at a time, as the paper's figure does it; which of them end at a filler."""
    gaps: list[int] = []
    fillers: list[bool] = []
    last = -1
    for position in positions:
        gap, last = position - last - 1, position
        while gap > 2**bits - 1:
            gaps.append(2**bits - 1)
            fillers.append(True)
            gap -= 2**bits
        gaps.append(gap)
        fillers.append(False)
    return gaps, fillers


@given(st.sets(st.integers(0, 3000), max_size=60), st.sampled_from([1, 4, 5, 8]))
def test_a_relative_index_can_be_read_back(chosen: set[int], bits: int) -> None:
    positions = sorted(chosen)
    gaps, fillers = relative_index(np.array(positions, dtype=np.int64), bits)
    slow, is_filler = slow_gaps(positions, bits)
    assert gaps.tolist() == slow and fillers == sum(is_filler)
    assert all(0 <= gap < 2**bits for gap in slow)
    places = (np.cumsum(gaps + 1) - 1).tolist()
    assert [place for place, filler in zip(places, is_filler, strict=True) if not filler] == positions
    assert len(places) == len(set(places)) == len(positions) + fillers


def test_deep_compression_has_the_example_of_its_paper() -> None:
    """16 weights of 4 shared values: 3.2 times smaller, before positions are counted at all."""
    matrix = uniform(balanced(2, 16, (4, 4)), 2, None)
    gaps, number_of_nonzeros = 16 // 8, 4
    size = deep_compression(matrix)
    assert 4 * 16 / (size.bytes - gaps - number_of_nonzeros) == 3.2 and size.note is None


@given(
    st.integers(0, 2**32), st.sampled_from([(12, 50), (3, 7, 29)]), st.sampled_from([0.002, 0.05, 0.5, 1.0])
)
def test_deep_compression_counts_what_a_slow_coder_writes(
    seed: int, shape: tuple[int, ...], density: float
) -> None:
    generator = np.random.default_rng(seed)
    keep = torch.from_numpy(generator.random(shape) < density)
    points = torch.tensor([-1.0, -0.5, 0.25, 1.0])
    tensor = uniform(
        generator.integers(0, 4, int(keep.sum())), 2, None, shape=shape, keep=keep, codebook=points,
        offset=torch.zeros(1), scale=torch.full((1,), 0.5),
    )  # fmt: skip
    values = tensor.decode().reshape(-1).tolist()
    positions = [place for place, value in enumerate(values) if value]
    gaps, is_filler = slow_gaps(positions, 5 if len(shape) == 2 else 8)
    places = (np.cumsum(np.array(gaps, dtype=int) + 1) - 1).tolist()
    stream = [values[place] for place in places]
    bits = [slow_bits(stream), slow_bits(gaps)] if gaps else [0, 0]
    expected = sum(math.ceil(b / 8) for b in bits) + 4 * len(set(stream)) + 4
    assert all(stream[i] == 0 for i, filler in enumerate(is_filler) if filler)
    assert deep_compression(tensor).bytes == expected


def test_deep_compression_of_what_has_no_codebook_is_counted_as_its_note_says() -> None:
    generator = np.random.default_rng(1)
    full = Dense(torch.from_numpy(generator.normal(size=(20, 30)).astype(np.float32)))
    assert deep_compression(full).bytes == 4 * 600 and deep_compression(full).note == FULL_PRECISION
    few = Dense(full.values.sign())
    assert deep_compression(few).bytes == 75 + 75 + 2 * 4 + 4 and deep_compression(few).note is None
    bucketed = uniform(balanced(2, 512, (16, 32)), 2, 64, torch.float16)
    size = deep_compression(bucketed)
    assert size.bytes == 512 * 2 / 8 + 512 / 8 + 4 * 4 + 4 + 8 * 2 * 2 and size.note == BUCKETED
    zero_in_the_middle = uniform(balanced(2, 512, (16, 32)), 2, 64, offset=None, zero=1)
    size = deep_compression(zero_in_the_middle)  # level 1, each fourth weight, is a zero: gaps are 0, 1, 0
    symbols, gaps = slow_bits([0, 2, 3] * 128), slow_bits([0, 1, 0] * 128)
    assert size.bytes == math.ceil(symbols / 8) + math.ceil(gaps / 8) + 3 * 4 + 4 + 8 * 4


def test_ham_code_counts_every_table() -> None:
    """By hand: a matrix of four inputs and two outputs with values 0, 1 and 2, 5, 2 and 1 times."""
    matrix = matrix_of(pruned(np.array([[0, 0], [0, 0], [1, 0], [2, 1]])))
    assert (matrix.rows, matrix.columns, matrix.zeros, matrix.counts.tolist()) == (4, 2, 5, [2, 1])
    stream, symbols = 32, 3 * 32  # 5 + 2 * 2 + 2 bits, rounded up to a word
    first_symbols, first_codes, leading_bits = 3 * 8, 4 * 8, 2 * 8
    assert ham_code_bits(matrix) == stream + symbols + first_symbols + first_codes + leading_bits
    stream, symbols, row_numbers, column_counts = 32, 2 * 32, 3 * 8, 2 * 8
    first_symbols, first_codes = 2 * 8, 3 * 8
    assert sham_code_bits(matrix) == (
        stream + symbols + row_numbers + column_counts + first_symbols + first_codes
    )
    wide = matrix_of(pruned(np.eye(256)))  # 256 needs two bytes as a row number, as the code has it
    assert sham_code_bits(wide) == 256 + (256 + 256) * 16 + 32 + 2 * 8 + 3 * 8
    nothing = matrix_of(pruned(np.zeros((4, 2))))
    assert sham_code_bits(nothing) == 2 * 8 and sham_printed_bits(nothing) == (4 + 2 + 1) * 32


@given(st.integers(0, 2**32), st.sampled_from([0.01, 0.1, 0.5, 1.0]))
def test_ham_formulas_and_bounds(seed: int, density: float) -> None:
    generator = np.random.default_rng(seed)
    n, m = generator.integers(1, 40, 2)
    levels = generator.normal(size=generator.integers(1, 30)).astype(np.float32)
    dense = generator.choice(levels, (n, m)) * (generator.random((n, m)) < density)
    matrix = matrix_of(pruned(dense))
    q, k = np.count_nonzero(dense), len(np.unique(dense))
    s, words = q / (n * m), 32 * n * m
    assert ham_printed_bits(matrix) / words == pytest.approx((1 + math.log2(k)) / 32 + 6 * k / (n * m))
    stream = slow_bits(dense.reshape(-1).tolist())
    assert ham_code_bits(matrix) >= stream and stream <= n * m * (1 + math.log2(k))
    k = len(np.unique(dense[dense != 0]))
    if k:
        shared = s * (1 + math.log2(k)) / 32 + 6 * k / (n * m)
        assert sham_printed_bits(matrix) / words == pytest.approx(shared + (n + m + 1) / (n * m))
        assert sham_corrected_bits(matrix) / words == pytest.approx(shared + (q + m + 1) / (n * m))


def test_a_file_is_counted_in_every_way() -> None:
    generator = np.random.default_rng(2)
    keep = torch.from_numpy(generator.random((9, 40)) < 0.2)
    tensors: dict[str, Stored] = {
        "conv": uniform(generator.integers(0, 16, (8, 3, 3, 3)), 4, 64, torch.float16),
        "fc": uniform(generator.integers(0, 4, int(keep.sum())), 2, None, shape=(9, 40), keep=keep),
        "bias": Dense(torch.rand(9).half()),
        "count": Dense(torch.tensor(3)),
        "none": Dense(torch.zeros(0, 4)),
    }
    data = pack(RECIPE, tensors)
    accounts = account(unpack(data)[1], describe(data))
    assert tuple(a.accounting for a in accounts) == ACCOUNTINGS
    totals = {a.accounting: a.total for a in accounts}
    weights = [t for name, t in tensors.items() if name != "count"]
    assert totals[FILE] == len(data) and totals[FP32] == 4 * sum(t.decode().numel() for t in weights) + 8
    for one in accounts:
        assert list(one.sizes) == list(tensors)
        assert one.total == one.header + sum(size.bytes for size in one.sizes.values())
        assert (one.header > 0) == (one.accounting is FILE)
    published = [a for a in accounts if a.accounting.key.startswith(("deep", "ham", "sham"))]
    assert len(published) == 7
    for one in published:
        assert [one.sizes[name].note for name in ("bias", "count")] == [NOT_A_MATRIX, NOT_A_WEIGHT]
        assert one.sizes["bias"].bytes == 4 * 9


@settings(max_examples=30)
@given(st.integers(0, 2**32))
def test_order_0_bounds_hold_between_accountings(seed: int) -> None:
    """A Huffman code per tensor is never below the entropy, and a shared one never below that."""
    generator = np.random.default_rng(seed)
    tensors: dict[str, Stored] = {
        f"w{i}": uniform(generator.binomial(7, generator.random(), (20, 30)), 3, 8) for i in range(3)
    }
    data = pack(RECIPE, tensors)
    totals = {a.accounting.key: a.total for a in account(tensors, describe(data))}
    assert totals["entropy"] <= totals["quantized_distillation"] + 1e-9
    assert totals["entropy"] <= totals["bit_packed"] + 1e-9


def test_the_published_code_of_deep_compression_pays_for_plain_indices_and_trees() -> None:
    values = torch.tensor([[1.0, 0, 1], [0, 2, 0]])
    # Values 1, 1, 2: 3 bits; columns 0, 2, 1: 5 bits; 2 and 1 per row: 2 bits; each with a byte in front.
    codewords = (1 + 1) + (1 + 1) + (1 + 1)
    trees = [1 + -(-(33 * leaves + leaves - 1) // 8) for leaves in (2, 3, 2)]
    assert deep_compression_code(Dense(values)).bytes == codewords + sum(trees) == 40
    # A matrix with at least as many rows is stored by columns, and filters are flattened.
    assert deep_compression_code(Dense(values.T.contiguous())).bytes == 40
    assert deep_compression_code(Dense(values.reshape(2, 3, 1, 1))).bytes == 40


def test_mixed_bits_are_counted_at_the_bits_of_each_group() -> None:
    bits = torch.tensor([2, 5, 11], dtype=torch.uint8)
    levels = torch.tensor([3, 0, 1, 2, 31, 0, 7, 9, 2047, 5], dtype=torch.int16)
    tensor = MixedCodes(levels, (2, 5), bits, 4, -torch.ones(1), torch.ones(1))
    # 4 weights of 2 bits, 4 of 5, 2 of 11; for each of 3 groups an index into 10 numbers of bits; both ends
    assert bit_packed_bytes(tensor) == -(-(8 + 20 + 22) // 8) + -(-3 * 4 // 8) + 8
    keep = torch.ones(2, 5, dtype=torch.bool)
    keep[0, :3] = False
    masked = MixedCodes(levels[3:], (2, 5), bits, 4, -torch.ones(1), torch.ones(1), keep)
    assert bit_packed_bytes(masked) == 2 + -(-(2 + 20 + 22) // 8) + 2 + 8
    assert quantized_distillation(tensor, np.zeros(257, np.int64)) == Size(bit_packed_bytes(tensor), MIXED)
