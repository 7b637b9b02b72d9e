"""The documented format: what the package writes, a reader that follows the page alone reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from rayduce_reader.segments import BUCKET, CHANNEL, COLUMN, KERNEL, PLACE, ROW
from tests.contracts.test_codecs import TENSORS
from tests.trainables.codecs.reference import DTYPES, read_record
from trainables.codecs import BitPacked, EntropyCoded, Smallest, Sparse
from trainables.codecs.base import Stored
from trainables.codecs.layout import tensor_bytes
from trainables.quantizers.base import Codes, Dense, MixedCodes


def check(tensor: Stored, data: bytes) -> None:
    found = read_record(data)
    expected: dict[str, Any] = {"shape": tuple(tensor.shape), "keep": None}
    if tensor.keep is not None:
        expected["keep"] = tensor.keep.reshape(-1).tolist()
    if isinstance(tensor, Dense):
        names = [str(np.dtype(name)) if name != "bfloat16" else name for name in DTYPES]
        assert names[DTYPES.index(found.pop("dtype"))] == str(tensor.values.dtype).removeprefix("torch.")
        expected["values"] = tensor_bytes(tensor.values)
    elif isinstance(tensor, MixedCodes):
        expected |= {"index": tensor.index.tolist(), "bits": tensor.bits.tolist()}
        expected |= {"group_size": tensor.group_size}
        expected |= {name: tensor_bytes(getattr(tensor, name)) for name in ("offset", "scale")}
    else:
        arrays = {name: getattr(tensor, name) for name in ("offset", "scale", "codebook")}
        expected |= {name: None if a is None else tensor_bytes(a) for name, a in arrays.items()}
        expected["index"] = tensor.index.tolist()
        expected |= {name: getattr(tensor, name) for name in ("bits", "bucket_size", "zero")}
    assert found == expected


@settings(max_examples=60)
@given(tensors=TENSORS)
def test_every_record_is_read_as_documented(tensors: tuple[Stored, ...]) -> None:
    for tensor in tensors:
        check(tensor, Smallest().encode(tensor))
        for tag, codec in enumerate((BitPacked(), EntropyCoded(), Sparse()), start=1):
            if codec.accepts(tensor):
                check(tensor, bytes([tag]) + codec.encode(tensor))


def peaked(shape: tuple[int, ...], width: np.ndarray, bits: int = 4, bucket_size: int | None = None) -> Codes:
    """Levels of a centred grid about its middle, ``width`` (broadcast to ``shape``) wide."""
    levels = np.random.default_rng(0).normal(size=shape) * width + 2 ** (bits - 1)
    index = torch.from_numpy(np.clip(np.rint(levels), 0, 2**bits - 1).astype(np.uint8).reshape(-1))
    buckets = 1 if bucket_size is None else -(-index.numel() // bucket_size)
    scale = torch.rand(buckets, generator=torch.Generator().manual_seed(0)) + 1
    return Codes(index, shape, bits, bucket_size, None, scale, zero=2 ** (bits - 1))


WIDE = np.array([0.4, 3.0])
SHAPE = (40, 30, 5, 5)
CASES = {
    BUCKET: peaked((5990,), np.repeat(np.tile(WIDE, 50), 60)[:5990], bucket_size=60),
    ROW: peaked(SHAPE, np.tile(WIDE, 20).reshape(40, 1, 1, 1)),
    COLUMN: peaked((60, 100), np.tile(WIDE, 50)),
    KERNEL: peaked(SHAPE, np.random.default_rng(1).choice(WIDE, (40, 30, 1, 1))),
    PLACE: peaked(SHAPE, np.random.default_rng(1).choice(WIDE, (1, 1, 5, 5))),
    CHANNEL: peaked(SHAPE, np.tile(WIDE, 15).reshape(1, 30, 1, 1)),
    15: peaked((80, 100), np.outer(np.tile([0.5, 2.0], 40), np.tile([0.5, 2.0], 50))),
}


@pytest.mark.parametrize("kind", CASES)
def test_each_kind_of_segments_is_found_and_read_as_documented(kind: int) -> None:
    tensor = CASES[kind]
    data = EntropyCoded().encode(tensor)
    head = 1 + 1 + sum(1 if size < 128 else 2 for size in tensor.shape) + 2 + (tensor.bucket_size is not None)
    assert data[head] == kind
    check(tensor, b"\2" + data)
    pooled = tensor.index.long().bincount().double()
    entropy = float((pooled * (pooled.sum() / pooled.clamp(min=1)).log2()).sum()) / 8
    assert len(data) < 0.95 * (entropy + tensor.scale.nbytes)


def test_a_mask_of_pruned_rows_and_columns_costs_less_than_its_entropy() -> None:
    generator = np.random.default_rng(0)
    share = np.outer(generator.choice([0.02, 0.5], 100), generator.choice([0.1, 1.0], 200))
    keep = torch.from_numpy(generator.random((100, 200)) < share)
    tensor = Dense(torch.where(keep, torch.randn(100, 200).half(), 0.0), keep)
    data = Smallest().encode(tensor)
    check(tensor, data)
    part = float(keep.double().mean())
    entropy = -20_000 * (part * np.log2(part) + (1 - part) * np.log2(1 - part)) / 8
    assert len(data) - 2 * int(keep.sum()) < 0.85 * entropy


def test_levels_are_aligned_where_zero_wanders() -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(20_000, generator=generator).reshape(-1, 50)
    low, high = weight.amin(1, keepdim=True), weight.amax(1, keepdim=True)
    levels = ((weight - low) / (high - low) * 15).round().to(torch.uint8).reshape(-1)
    book = torch.linspace(0, 1, 16)
    offset, scale = low.reshape(-1).half(), (high - low).reshape(-1).half()
    for codebook in (None, book):
        tensor = Codes(levels, (20_000,), 4, 50, offset, scale, codebook)
        data = EntropyCoded().encode(tensor)
        assert data[1] & 2
        check(tensor, b"\2" + data)
        # No zero lies among the levels of the other, so that all buckets are aligned alike.
        assert len(data) < len(
            EntropyCoded().encode(Codes(levels, (20_000,), 4, 50, -offset, scale, codebook))
        )


def test_scales_are_stored_in_fewer_bits_than_they_have() -> None:
    scale = torch.rand(4000, generator=torch.Generator().manual_seed(0)) * 0.1 + 0.1
    offset = scale * (-0.5 - 0.01 * torch.rand(4000, generator=torch.Generator().manual_seed(1)))
    for dtype, bits in ((torch.float16, 20), (torch.float32, 52)):
        tensor = Codes(torch.zeros(4000, dtype=torch.uint8), (4000,), 1, 1, offset.to(dtype), scale.to(dtype))
        data = EntropyCoded().encode(tensor)
        check(tensor, b"\2" + data)
        assert len(data) < 4000 * bits / 8
