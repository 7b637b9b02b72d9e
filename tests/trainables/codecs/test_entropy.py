"""The entropy coder and its models: an independent decoder, and how near to the entropy it gets."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rayduce_reader.ans import AnsDecoder
from rayduce_reader.binary import Memory, Reader
from rayduce_reader.frequencies import ENTRY_BITS, read_frequencies
from trainables.codecs import BitPacked, EntropyCoded, Smallest, Sparse
from trainables.codecs.ans import ans_encode
from trainables.codecs.frequencies import fit_frequencies
from trainables.quantizers.base import Codes, Dense


def reference_pop(
    data: bytes, seed_bytes: int, streams: list[tuple[list[float], int]]
) -> tuple[list[list[int]], bytes]:
    """docs/packed_file.md, "The entropy coder", in whole numbers of Python: a second implementation."""
    data += bytes(-len(data) % 4)
    words = [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)]
    state = 0
    while words and state < 2**32:
        state = state << 32 | words.pop()
    out = []
    for weights, count in streams:
        total, symbols = sum(weights), len(weights)
        scale = (2**24 - symbols) / total
        lower = [math.floor(sum(weights[:s]) * scale) + s for s in range(symbols)] + [2**24]
        popped = []
        for _ in range(count):
            quantile = state % 2**24
            symbol = max(s for s in range(symbols) if lower[s] <= quantile)
            state = (state >> 24) * (lower[symbol + 1] - lower[symbol]) + quantile - lower[symbol]
            if state < 2**32 and words:
                state = state << 32 | words.pop()
            popped.append(symbol)
        out.append(popped)
    assert not words
    seed = state.to_bytes(8, "little")[:seed_bytes]
    assert state == (int.from_bytes(seed + b"\x01", "little") if seed else 0)
    return out, seed


@given(
    seed=st.binary(max_size=3), counts=st.lists(st.integers(0, 60), min_size=1, max_size=3), data=st.data()
)
def test_streams_come_back_in_both_implementations(
    seed: bytes, counts: list[int], data: st.DataObject
) -> None:
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    streams = []
    for count in counts:
        weights = np.floor(generator.exponential(size=generator.integers(2, 257)) ** 3 * 1000) + 1
        symbols = generator.choice(weights.size, count, p=weights / weights.sum()).astype(np.uint8)
        streams.append((symbols, weights))
    coded = ans_encode(streams, seed)
    decoder = AnsDecoder(coded)
    for symbols, weights in streams:
        assert np.array_equal(decoder.pop(weights, symbols.size), symbols)
    assert decoder.finish(len(seed)) == seed
    popped, left = reference_pop(coded, len(seed), [(weights.tolist(), s.size) for s, weights in streams])
    assert popped == [symbols.tolist() for symbols, _ in streams]
    assert left == seed


def test_a_wrong_stream_does_not_end_well() -> None:
    symbols, weights = np.array([0, 1, 2] * 30, dtype=np.uint8), np.array([1.0, 2.0, 3.0])
    coded = ans_encode([(symbols, weights)], b"abc")
    for broken in (coded[:-4], coded[4:], coded + b"\x01", coded + b"\0", b""):
        with pytest.raises(ValueError):
            decoder = AnsDecoder(broken)
            decoder.pop(weights, symbols.size)
            decoder.finish(3)


@settings(max_examples=200)
@given(symbols=st.integers(2, 256), scale=st.integers(0, 6), seed=st.integers(0, 2**32))
def test_tables_are_read_back_and_their_cost_is_honest(symbols: int, scale: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    counts = np.floor(generator.exponential(size=symbols) ** 2 * 10**scale).astype(np.int64)
    counts[generator.integers(symbols)] += 1
    model = fit_frequencies(counts)
    reader = Reader(model.table, Memory(2**16))
    weights = read_frequencies(reader, symbols)
    reader.finish()
    assert np.array_equal(weights, model.weights)
    present = counts > 0
    assert (weights[present] > 0).all()
    cost = -(counts[present] * np.log2(weights[present] / weights.sum())).sum()
    assert model.bits == pytest.approx(8 * len(model.table) + cost)
    entropy = (counts[present] * np.log2(counts.sum() / counts[present])).sum()
    assert model.bits >= entropy
    assert model.bits <= 8 + symbols * max(width for width, _ in ENTRY_BITS) + 8 + 1.001 * entropy


def test_a_table_of_zeros_or_of_unknown_form_is_refused() -> None:
    for table in (b"\x00\x00", bytes([len(ENTRY_BITS), 255, 255]), b"\xf0\xff"):
        with pytest.raises(ValueError, match="frequency table"):
            read_frequencies(Reader(table, Memory(2**16)), 4)


def normal_codes(count: int, bits: int, keep: torch.Tensor | None = None) -> Codes:
    levels = torch.randn(count, generator=torch.Generator().manual_seed(0)) * 2**bits / 8 + 2 ** (bits - 1)
    index = levels.clamp(0, 2**bits - 1).to(torch.uint8)
    buckets = -(-count // 256)
    shape = (count,) if keep is None else tuple(keep.shape)
    return Codes(index, shape, bits, 256, torch.randn(buckets).half(), torch.rand(buckets).half(), None, keep)


def entropy_bytes(symbols: torch.Tensor) -> float:
    share = symbols.long().bincount().double() / symbols.numel()
    share = share[share > 0]
    return float(-(share * share.log2()).sum()) * symbols.numel() / 8


@pytest.mark.parametrize("bits", range(1, 9))
def test_large_tensors_reach_the_entropy(bits: int) -> None:
    tensor = normal_codes(300_000, bits)
    data = EntropyCoded().encode(tensor)
    assert entropy_bytes(tensor.index) < len(data)  # of random levels; nothing to be won
    assert len(data) <= 1.005 * (entropy_bytes(tensor.index) + 2 * tensor.scale.nbytes)
    again = EntropyCoded().decode(data, Memory(2**23))  # several chunks
    assert isinstance(again, Codes) and torch.equal(again.index, tensor.index)


@pytest.mark.parametrize(("bits", "allowed"), [(2, 6), (4, 12), (8, 40)])
def test_small_tensors_carry_little_beside_the_entropy(bits: int, allowed: int) -> None:
    """Beside head and shape (7 bytes) the table is what costs; 576 weights are an 8 by 8 convolution."""
    tensor = normal_codes(576, bits)
    ideal = entropy_bytes(tensor.index) + 2 * tensor.scale.nbytes
    assert len(EntropyCoded().encode(tensor)) <= ideal + 7 + allowed


def test_random_masks_cost_their_entropy() -> None:
    keep = torch.rand(200_000, generator=torch.Generator().manual_seed(1)) < 0.1
    tensor = normal_codes(int(keep.sum()), 3, keep.reshape(100, 2000))
    ideal = entropy_bytes(tensor.index) + entropy_bytes(keep) + 2 * tensor.scale.nbytes
    assert len(Sparse().encode(tensor)) <= 1.005 * ideal


def test_pruned_filters_cost_next_to_nothing() -> None:
    keep = torch.zeros(64, 576, dtype=torch.bool)
    keep[torch.arange(0, 64, 4)] = True
    tensor = normal_codes(int(keep.sum()), 4, keep)
    alone = normal_codes(int(keep.sum()), 4)
    assert len(Sparse().encode(tensor)) <= len(EntropyCoded().encode(alone)) + 100
    assert len(BitPacked().encode(tensor)) > len(BitPacked().encode(alone)) + keep.numel() // 8


def test_pruned_dense_tensors_store_kept_values_only() -> None:
    keep = torch.rand(40_000, generator=torch.Generator().manual_seed(1)) < 0.05
    tensor = Dense(torch.randn(40_000).half() * keep, keep)
    assert len(Smallest().encode(tensor)) <= 1.01 * (2 * int(keep.sum()) + entropy_bytes(keep))


def test_values_outside_the_mask_are_refused() -> None:
    with pytest.raises(ValueError, match="zero where they are not kept"):
        Sparse().encode(Dense(torch.ones(4), torch.tensor([True, True, False, True])))


def test_a_constant_tensor_takes_hardly_more_than_its_table() -> None:
    tensor = Codes(torch.ones(100_000, dtype=torch.uint8), (100_000,), 8, None, torch.zeros(1), torch.ones(1))
    assert len(Smallest().encode(tensor)) <= 18 + 256 // 4


def test_codes_that_break_their_promises_are_refused() -> None:
    good = normal_codes(300, 3)
    wrong: dict[str, object] = {
        "bits": 9,
        "bucket_size": 0,
        "shape": (299,),
        "index": good.index.long(),
        "offset": good.scale.float(),
        "scale": good.scale[:1],
        "codebook": torch.zeros(9),
        "keep": torch.ones(299, dtype=torch.bool),
        "zero": 3,
    }
    for name, value in wrong.items():
        for codec in (BitPacked(), EntropyCoded(), Smallest()):
            with pytest.raises(ValueError):
                codec.encode(Codes(**(vars(good) | {name: value})))
    with pytest.raises(ValueError, match="index must be below 5, got"):
        BitPacked().encode(Codes(**(vars(good) | {"codebook": torch.zeros(5)})))


def test_a_centred_grid_keeps_its_promises() -> None:
    good = vars(normal_codes(300, 3)) | {"offset": None, "zero": 4}
    EntropyCoded().encode(Codes(**good))
    for wrong, message in (
        ({"zero": 8}, "zero must be below 8, got zero=8"),
        ({"zero": None}, "zero level instead of offsets, got zero=None"),
        ({"codebook": torch.zeros(8)}, "a centred grid has no codebook, got zero=4 and 8 levels"),
    ):
        for codec in (BitPacked(), EntropyCoded(), Smallest()):
            with pytest.raises(ValueError, match=message):
                codec.encode(Codes(**(good | wrong)))


def test_an_index_beyond_the_codebook_is_refused_on_reading() -> None:
    good = Codes(**(vars(normal_codes(300, 3)) | {"codebook": torch.zeros(8)}))
    data = bytearray(BitPacked().encode(good))
    assert data[6] == 7  # flags, rank, two bytes of 300, two of 256, then levels - 1
    data[6] = 2
    with pytest.raises(ValueError):
        BitPacked().decode(bytes(data), Memory(2**16))


def test_a_smallest_needs_members() -> None:
    with pytest.raises(ValueError, match="members must be 1 to 255 codecs, got 0"):
        Smallest(())
    with pytest.raises(ValueError, match="none of BitPacked"):
        Smallest((BitPacked(),)).encode(Dense(torch.zeros(3)))
    with pytest.raises(ValueError, match="codec 7 of 4"):
        Smallest().decode(b"\x07", Memory(10))
