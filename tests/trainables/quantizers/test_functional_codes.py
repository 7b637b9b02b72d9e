"""Codes, forward pass and decoding agree bit for bit, however a tensor is cut, shaped, stored and walked."""

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from trainables.quantizers.base import Codes
from trainables.quantizers.kernels import blocks
from trainables.quantizers.kernels.buckets import scale_buckets
from trainables.quantizers.kernels.points import decode_points, initial_points, points_codes, quantize_points
from trainables.quantizers.kernels.symmetric import decode_symmetric, quantize_symmetric, symmetric_codes
from trainables.quantizers.kernels.uniform import (
    decode_uniform,
    quantize_uniform,
    uniform_codes,
    uniform_index,
    uniform_scale_gradient,
)

finite = st.floats(-100, 100, width=32)
vectors = arrays(np.float32, st.integers(0, 97), elements=finite).map(torch.from_numpy)
buckets_ = st.one_of(st.none(), st.integers(1, 40))
dtypes = st.sampled_from(["float32", "float16"])


def same_bits(a, b):
    return a.dtype == b.dtype and torch.equal(a.view(torch.int32), b.view(torch.int32))


def drawn(count, seed=0):
    return torch.randn(count, generator=torch.Generator().manual_seed(seed))


@given(vectors, st.integers(1, 8), buckets_, dtypes)
@example(torch.tensor([2.0, -1.4013e-45]), 1, None, "float16")  # an end that is rounded to -0.0
def test_uniform_codes_decode_to_the_forward_pass(x, bits, bucket_size, scale_dtype):
    values = quantize_uniform(x, bits, bucket_size, scale_dtype=scale_dtype)
    index, offset, scale = uniform_codes(x, bits, bucket_size, scale_dtype=scale_dtype)
    assert index.dtype == torch.uint8 and index.shape == x.shape
    assert offset.dtype == scale.dtype == getattr(torch, scale_dtype)
    assert int(index.max() if index.numel() else 0) < 2**bits
    assert same_bits(decode_uniform(index, offset, scale, bits, bucket_size), values)
    assert same_bits(Codes(index, (x.numel(),), bits, bucket_size, offset, scale).decode(), values)


@given(vectors, st.integers(2, 40), buckets_, dtypes)
def test_point_codes_decode_to_the_forward_pass(x, count, bucket_size, scale_dtype):
    points = initial_points(x, count, bucket_size, scale_dtype=scale_dtype)
    values, number = quantize_points(x, points, bucket_size, scale_dtype=scale_dtype)
    index, offset, scale = points_codes(x, points, bucket_size, scale_dtype=scale_dtype)
    assert torch.equal(index.long(), number)
    assert same_bits(decode_points(index, offset, scale, points, bucket_size), values)
    assert same_bits(Codes(index, (x.numel(),), 8, bucket_size, offset, scale, points).decode(), values)


@given(vectors, st.integers(2, 8), buckets_, dtypes)
def test_symmetric_codes_decode_to_the_forward_pass(x, bits, bucket_size, scale_dtype):
    values = quantize_symmetric(x, bits, bucket_size, scale_dtype=scale_dtype)
    index, step = symmetric_codes(x, bits, bucket_size, scale_dtype=scale_dtype)
    zero = 2 ** (bits - 1) - 1
    assert index.dtype == torch.uint8 and int(index.max() if index.numel() else 0) <= 2 * zero
    assert same_bits(decode_symmetric(index, step, bits, bucket_size), values)
    codes = Codes(index, (x.numel(),), bits, bucket_size, None, step, zero=zero)
    assert same_bits(codes.decode(), values)


def everything(x, bucket_size, scale_dtype="float32"):
    """All functions on one input."""
    found = {}
    generator = torch.Generator().manual_seed(3)
    found["uniform"] = quantize_uniform(x, 3, bucket_size, scale_dtype=scale_dtype)
    found["stochastic"] = quantize_uniform(
        x, 3, bucket_size, rounding="stochastic", generator=generator, scale_dtype=scale_dtype
    )
    found["index"], found["offset"], found["scale"] = uniform_codes(
        x, 3, bucket_size, scale_dtype=scale_dtype
    )
    found["decoded"] = decode_uniform(found["index"], found["offset"], found["scale"], 3, bucket_size)
    found["gradient"] = uniform_scale_gradient(
        x.sign(), x, found["index"], 3, bucket_size, scale_dtype=scale_dtype
    )
    for count in (5, 20):
        points = torch.linspace(0, 1, count) ** 1.5
        found[f"points {count}"], found[f"number {count}"] = quantize_points(
            x, points, bucket_size, scale_dtype=scale_dtype
        )
        codes = points_codes(x, points, bucket_size, scale_dtype=scale_dtype)
        found[f"codes {count}"] = codes.numbers
        found[f"decoded {count}"] = decode_points(*codes, points, bucket_size)
    found["symmetric"] = quantize_symmetric(x, 4, bucket_size, scale_dtype=scale_dtype)
    found["levels"], found["step"] = symmetric_codes(x, 4, bucket_size, scale_dtype=scale_dtype)
    found["centred"] = decode_symmetric(found["levels"], found["step"], 4, bucket_size)
    found["unit"] = scale_buckets(x, bucket_size, scale_dtype).unit
    return found


@pytest.mark.parametrize("scale_dtype", ["float32", "float16"])
@pytest.mark.parametrize("bucket_size", [None, 1, 7, 256, 3000])
@pytest.mark.parametrize("block", [60, 1024])
def test_the_size_of_blocks_changes_nothing(monkeypatch, bucket_size, block, scale_dtype):
    x = drawn(10_001)
    whole = everything(x, bucket_size, scale_dtype)
    monkeypatch.setattr(blocks, "BLOCK", block)
    for name, value in everything(x, bucket_size, scale_dtype).items():
        if name == "gradient":  # sums in another order
            assert torch.allclose(value, whole[name], rtol=1e-4, atol=1e-4), name
        else:
            assert torch.equal(value, whole[name]), name


@pytest.mark.parametrize("bucket_size", [None, 7, 256, 3000])
def test_the_path_of_other_devices_computes_the_same(monkeypatch, bucket_size):
    x = drawn(10_001)
    blocked = everything(x, bucket_size)
    monkeypatch.setattr(blocks, "_on_cpu", lambda tensor: False)
    for name, value in everything(x, bucket_size).items():
        if name == "stochastic":  # draws for the places that pad the last bucket as well
            assert value.shape == x.shape
        elif name == "gradient":
            assert torch.allclose(value, blocked[name], rtol=1e-4, atol=1e-4)
        else:
            assert torch.equal(value, blocked[name]), name


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes_are_computed_in_float32(dtype):
    x = drawn(5000).to(dtype)
    wide = x.float()
    for quantize in (
        lambda x: quantize_uniform(x, 4, 64),
        lambda x: quantize_symmetric(x, 4, 64),
        lambda x: quantize_points(x, torch.linspace(0, 1, 9), 64)[0],
    ):
        assert torch.equal(quantize(x), quantize(wide).to(dtype))
    for ours, expected in zip(uniform_codes(x, 4, 64), uniform_codes(wide, 4, 64), strict=True):
        assert torch.equal(ours, expected)


@pytest.mark.parametrize(
    "x",
    [
        torch.tensor(0.7),
        torch.empty(0),
        torch.empty(3, 0, 2),
        drawn(1),
        drawn(210).reshape(5, 6, 7).permute(2, 0, 1),
        drawn(100)[::3],
        drawn(4)[:, None].expand(4, 30),
    ],
    ids=["0-d", "empty", "empty 3-d", "one", "permuted", "strided", "expanded"],
)
@pytest.mark.parametrize("bucket_size", [None, 8])
def test_any_shape_and_stride(x, bucket_size):
    before = x.clone()
    flat = everything(x.clone(memory_format=torch.contiguous_format).reshape(-1), bucket_size)
    for name, value in everything(x, bucket_size).items():
        assert torch.equal(value.reshape(-1), flat[name].reshape(-1)), name
        if name not in ("unit", "offset", "scale", "step"):
            assert value.shape == x.shape
    assert torch.equal(x, before)


def test_large_results_are_ordinary_tensors():
    x = drawn(blocks.HUGE_BYTES // 4 + 5)  # enough for huge pages
    values = quantize_uniform(x, 8, 256)
    assert values.data_ptr() % 64 == 0 and values.is_contiguous()
    expected = torch.cat([quantize_uniform(part, 8, 256) for part in x.split(256 * 64)])
    assert torch.equal(values, expected)
    del x
    assert torch.equal(values.clone(), expected)


def test_gradients_are_not_recorded():
    x = drawn(64).requires_grad_()
    points = torch.linspace(0, 1, 4, requires_grad=True)
    for value in everything(x, 16).values():
        assert not value.requires_grad
    assert not quantize_points(x, points, 16)[0].requires_grad


def test_what_is_not_finite_stays_in_its_bucket():
    for bad in (float("nan"), float("inf"), -float("inf")):
        x = drawn(64)
        x[20] = bad
        for quantize in (
            lambda x: quantize_uniform(x, 4, 16),
            lambda x: quantize_symmetric(x, 4, 16),
            lambda x: quantize_points(x, torch.linspace(0, 1, 4), 16)[0],
        ):
            values = quantize(x)
            assert not values[16:32].isfinite().all()
            clean = quantize(drawn(64))
            assert torch.equal(values[:16], clean[:16]) and torch.equal(values[32:], clean[32:])


def test_index_of_scaled_values():
    unit = torch.tensor([0.0, 0.2, 0.5, 0.9, 1.0])
    assert uniform_index(unit, 2).tolist() == [0, 1, 2, 3, 3]
    with pytest.raises(ValueError, match="'up'"):
        uniform_index(unit, 2, rounding="up")


def test_wrong_codes_name_the_value():
    index, offset, scale = uniform_codes(drawn(100), 4, 32)
    for call, text in [
        (lambda: decode_uniform(index, offset[:3], scale, 4, 32), "4 scales, got 3"),
        (lambda: decode_uniform(index, offset, scale, 9, 32), "bits=9"),
        (lambda: decode_uniform(index, offset, scale, 4, 0), "bucket_size=0"),
        (lambda: decode_symmetric(index, scale[:1], 4, 32), "4 scales, got 1"),
        (lambda: quantize_symmetric(drawn(4), 1, None), "bits=1"),
        (lambda: symmetric_codes(drawn(4), 9, None), "bits=9"),
        (lambda: quantize_points(drawn(4), torch.zeros(1), None), r"\(1,\)"),
        (lambda: points_codes(drawn(4), torch.zeros(257), None), "257"),
        (lambda: quantize_uniform(torch.arange(4), 2, None), "int64"),
        (lambda: uniform_scale_gradient(drawn(5), drawn(4), torch.zeros(4), 2, None), r"\(5,\)"),
    ]:
        with pytest.raises(ValueError, match=text):
            call()
