"""What every codec promises, over all members and all kinds of tensors."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rayduce_reader.binary import Memory
from trainables.codecs import CODECS, BitPacked, EntropyCoded, Raw, Smallest, Sparse
from trainables.codecs.base import Codec, Stored
from trainables.codecs.layout import DTYPES
from trainables.part import part_from_dict
from trainables.quantizers.base import Codes, Dense, MixedCodes

MEMBERS = {cls.__name__: cls for cls in CODECS}
SHAPES = st.one_of(
    st.sampled_from([(), (0,), (1,), (3, 0, 2), (1, 1, 1, 1), (17,), (13, 7), (8, 3, 3, 3), (2, 3, 5, 7, 2)]),
    st.sampled_from([(64, 37), (16, 12, 5, 5), (2003,), (40, 8, 3, 3)]),  # large enough for several models
    st.lists(st.integers(0, 9), max_size=4).map(tuple),
)
MASKS = ("all", "nothing", "half", "few", "runs")
EACH_CODEC = pytest.mark.parametrize(
    "codec", [cls() for cls in CODECS], ids=lambda codec: type(codec).__name__
)


def mask(generator: np.random.Generator, shape: tuple[int, ...], kind: str) -> Tensor:
    keep = (
        generator.random(shape) >= {"all": 0.0, "nothing": 1.1, "half": 0.5, "few": 0.97, "runs": 0.1}[kind]
    )
    if kind == "runs" and keep.ndim:
        keep[: keep.shape[0] // 2] = False
    return torch.from_numpy(np.asarray(keep, dtype=np.bool_))


@st.composite
def codes(draw: st.DrawFn, masked: bool) -> Codes:
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = draw(SHAPES)
    bits = draw(st.integers(1, 8))
    levels = draw(st.none() | st.integers(2, 2**bits))
    zero = draw(st.none() | st.integers(0, 2**bits - 1)) if levels is None else None
    ascending = draw(st.booleans())  # levels of an unordered codebook cannot be aligned
    bucket_size = draw(st.none() | st.sampled_from([1, 2, 7, 32, 64, 256, 2**20]))
    dtype = draw(st.sampled_from([torch.float16, torch.float32]))
    keep = mask(generator, shape, draw(st.sampled_from(MASKS))) if masked else None
    count = math.prod(shape) if keep is None else int(keep.sum())
    symbols = levels or 2**bits
    spread = draw(st.sampled_from([0.0, 0.05, 0.3, 10.0]))
    index = np.clip(generator.normal(symbols / 2, spread * symbols, count), 0, symbols - 1).astype(np.uint8)
    buckets = min(count, 1) if bucket_size is None else -(-count // bucket_size)
    scale = generator.random(buckets) * draw(st.sampled_from([1.0, 1e-3]))
    if draw(st.booleans()):
        offset = -scale * (0.4 + 0.2 * generator.random(buckets))
    else:
        offset = generator.normal(size=buckets)
    if buckets and draw(st.booleans()):
        offset[0], scale[-1] = draw(st.sampled_from([np.nan, np.inf, -np.inf, 0.0])), 0.0
    book = None if levels is None else generator.random(levels).astype(np.float32)
    return Codes(
        index=torch.from_numpy(index),
        shape=shape,
        bits=bits,
        bucket_size=bucket_size,
        offset=None if zero is not None else torch.from_numpy(offset).to(dtype),
        scale=torch.from_numpy(scale).to(dtype),
        codebook=None if book is None else torch.from_numpy(np.sort(book) if ascending else book),
        keep=keep,
        zero=zero,
    )


@st.composite
def dense(draw: st.DrawFn, masked: bool) -> Dense:
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = draw(SHAPES)
    dtype = draw(st.sampled_from(DTYPES))
    raw = generator.integers(0, 256, math.prod(shape) * dtype.itemsize, dtype=np.uint8)
    if dtype == torch.bool:
        raw &= 1
    values = (
        torch.tensor(raw.tolist(), dtype=torch.uint8).view(dtype).reshape(shape)
    )  # any bits: NaNs and infinities among them
    keep = mask(generator, shape, draw(st.sampled_from(MASKS))) if masked else None
    return Dense(values if keep is None else torch.where(keep, values, torch.zeros((), dtype=dtype)), keep)


@st.composite
def mixed(draw: st.DrawFn, masked: bool) -> MixedCodes:
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = draw(SHAPES)
    group_size = draw(st.none() | st.sampled_from([1, 4, 7, 8, 16, 2**40]))
    elements = math.prod(shape)
    groups = min(elements, 1) if group_size is None else -(-elements // group_size)
    lowest = draw(st.integers(1, 15))
    bits = generator.integers(lowest, draw(st.integers(lowest, 15)) + 1, groups)
    keep = mask(generator, shape, draw(st.sampled_from(MASKS))) if masked else None
    of_element = bits[np.arange(elements) // (group_size or max(elements, 1))]
    widths = of_element if keep is None else of_element[keep.reshape(-1).numpy()]
    spread = draw(st.sampled_from([0.0, 0.05, 0.3, 10.0]))
    unit = np.clip(generator.normal(0.5, spread, widths.size), 0, 1)
    return MixedCodes(
        index=torch.from_numpy(np.rint(unit * (2**widths - 1)).astype(np.int16)),
        shape=shape,
        bits=torch.from_numpy(bits.astype(np.uint8)),
        group_size=group_size,
        offset=torch.tensor([draw(st.sampled_from([-0.5, 0.0, math.nan, math.inf]))]),
        scale=torch.from_numpy(generator.random(1).astype(np.float32)),
        keep=keep,
    )


ENOUGH = 2**20
"""Bytes of memory in which the tensors here are read."""

TENSORS = st.tuples(codes(False), codes(True), dense(False), dense(True), mixed(False), mixed(True))


def same(left: Any, right: Any) -> bool:
    """Equality of fields, bit for bit."""
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        if left.dtype != right.dtype or left.shape != right.shape:
            return False
        flat = (torch.empty(t.numel(), dtype=t.dtype).copy_(t.reshape(-1)) for t in (left, right))
        return torch.equal(*(t.view(torch.uint8) for t in flat))
    if isinstance(left, Codes | MixedCodes | Dense):
        return type(left) is type(right) and all(same(v, getattr(right, k)) for k, v in vars(left).items())
    return type(left) is type(right) and left == right


def check_valid(tensor: Stored) -> None:
    """A decoded tensor is one that could have been encoded, and can be used."""
    assert math.prod(tensor.shape) <= ENOUGH
    codec = next(c for c in (Raw(), BitPacked(), Sparse(), EntropyCoded()) if c.accepts(tensor))
    assert same(codec.decode(codec.encode(tensor), Memory(8 * ENOUGH)), tensor)
    assert tuple(tensor.decode().shape) == tuple(tensor.shape)


@EACH_CODEC
@settings(max_examples=50)
@given(tensors=TENSORS)
def test_round_trip(codec: Codec, tensors: tuple[Stored, ...]) -> None:
    accepted = [tensor for tensor in tensors if codec.accepts(tensor)]
    assert accepted
    for tensor in accepted:
        data = codec.encode(tensor)
        elements = math.prod(tensor.shape)
        again = codec.decode(data, Memory(ENOUGH))
        assert same(again, tensor)
        assert codec.encode(again) == data
        if elements:
            with pytest.raises(ValueError, match=r"would take \d+ bytes of memory where \d+ are allowed"):
                codec.decode(data, Memory(elements))


@EACH_CODEC
@settings(max_examples=30)
@given(tensors=TENSORS, seed=st.integers(0, 2**32))
def test_garbage_is_refused_or_harmless(codec: Codec, tensors: tuple[Stored, ...], seed: int) -> None:
    chance = random.Random(seed)
    for tensor in filter(codec.accepts, tensors):
        data = codec.encode(tensor)
        for _ in range(10):
            broken = damaged(data, chance)
            try:
                result = codec.decode(broken, Memory(ENOUGH))
            except ValueError:
                continue
            check_valid(result)


def damaged(data: bytes, chance: random.Random) -> bytes:
    """A few bytes changed, mostly early ones, or some cut off or added."""
    broken = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        what = chance.random()
        if broken and what < 0.6:
            place = chance.randrange(min(len(broken), chance.choice([12, len(broken)])))
            broken[place] = chance.choice([0, 1, 127, 128, 255, chance.randrange(256)])
        elif what < 0.8:
            del broken[chance.randrange(len(broken) + 1) :]
        else:
            broken += chance.randbytes(chance.randint(1, 9))
    return bytes(broken)


@EACH_CODEC
@given(data=st.binary(max_size=60))
def test_noise_is_refused_or_harmless(codec: Codec, data: bytes) -> None:
    try:
        result = codec.decode(data, Memory(ENOUGH))
    except ValueError:
        return
    check_valid(result)


@EACH_CODEC
@settings(max_examples=30)
@given(tensors=TENSORS)
def test_what_is_not_accepted_is_refused(codec: Codec, tensors: tuple[Stored, ...]) -> None:
    for tensor in tensors:
        if not codec.accepts(tensor):
            with pytest.raises(ValueError):
                codec.encode(tensor)


@EACH_CODEC
def test_it_is_a_part(codec: Codec) -> None:
    assert part_from_dict(codec.to_dict(), MEMBERS) == codec


@settings(max_examples=50)
@given(tensors=TENSORS)
def test_the_default_stores_everything_as_short_as_any(tensors: tuple[Stored, ...]) -> None:
    smallest = Smallest()
    for tensor in tensors:
        others = [codec for codec in smallest.members if codec.accepts(tensor)]
        data = smallest.encode(tensor)
        assert len(data) == 1 + min(len(codec.encode(tensor)) for codec in others)
        assert smallest.writer(data) in others
