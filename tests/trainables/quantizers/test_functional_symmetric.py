"""The grid around an exact zero, and the gradient through the scale, against float64."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from trainables.quantizers.kernels.symmetric import quantize_symmetric, symmetric_codes
from trainables.quantizers.kernels.uniform import uniform_codes, uniform_scale_gradient

finite = st.floats(-100, 100, width=32)
vectors = arrays(np.float32, st.integers(1, 97), elements=finite).map(torch.from_numpy)
bits_ = st.integers(2, 8)
buckets_ = st.one_of(st.none(), st.integers(1, 40))
dtypes = st.sampled_from(["float32", "float16"])


@given(vectors, bits_, buckets_, dtypes)
def test_odd_and_zero_exact(x, bits, bucket_size, scale_dtype):
    values = quantize_symmetric(x, bits, bucket_size, scale_dtype=scale_dtype)
    mirrored = quantize_symmetric(-x, bits, bucket_size, scale_dtype=scale_dtype)
    assert torch.equal(mirrored, -values)
    assert bool((values[x == 0] == 0).all())
    assert not bool((values.signbit() & (values == 0)).any())


@given(vectors, bits_, buckets_)
def test_against_float64(x, bits, bucket_size):
    top = 2 ** (bits - 1) - 1
    values = quantize_symmetric(x, bits, bucket_size)
    length = x.numel() if bucket_size is None else bucket_size
    for bucket, ours in zip(x.split(length), values.split(length), strict=True):
        wide = bucket.double()
        step = wide.abs().max() / top
        if step < 1e-30:
            assert float(ours.abs().max()) <= 1e-27
            continue
        scaled = wide / step
        clear = ((scaled - scaled.floor()) - 0.5).abs() > 1e-4
        expected = scaled.round() * step
        assert torch.allclose(ours.double()[clear], expected[clear], rtol=1e-5, atol=1e-30)
        assert bool(((ours - wide).abs() <= step * 0.50001).all())


def test_levels_beyond_a_rounded_step_clamp():
    x = torch.tensor([-1.0, 1.0, 0.3]) * 2.0**-24 * 127 * 1.4  # the step rounds down by more than a quarter
    index, step = symmetric_codes(x, 8, None, scale_dtype="float16")
    assert float(step) == 2.0**-24
    assert index.tolist()[:2] == [0, 254]
    tiny = quantize_symmetric(torch.full((4,), 1e-9), 8, None, scale_dtype="float16")
    assert torch.equal(tiny, torch.zeros(4))


def test_bucket_of_zeros_and_idempotence():
    index, step = symmetric_codes(torch.zeros(10), 4, 5)
    assert step.tolist() == [1.0, 1.0] and bool((index == 7).all())
    x = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    once = quantize_symmetric(x, 5, 64)
    assert torch.allclose(quantize_symmetric(once, 5, 64), once, rtol=1e-6, atol=0)
    channels = torch.randn(6, 3, 5, 5)
    rows = torch.stack([quantize_symmetric(row, 8, None) for row in channels])
    assert torch.equal(quantize_symmetric(channels, 8, 75), rows)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("bucket_size", [None, 10])
@pytest.mark.parametrize("scale_dtype", ["float32", "float16"])
def test_gradient_through_the_scale_equals_finite_differences(bits, bucket_size, scale_dtype):
    generator = torch.Generator().manual_seed(bits)
    x = torch.randn(35, generator=generator)
    gradient = torch.randn(35, generator=generator)
    index = uniform_codes(x, bits, bucket_size, scale_dtype=scale_dtype).numbers
    ours = uniform_scale_gradient(gradient, x, index, bits, bucket_size, scale_dtype=scale_dtype)
    length = 35 if bucket_size is None else bucket_size
    # Rounding is the identity in the derivative: what is rounded away stays a constant in the unit domain.
    chunks = [x[a : a + length].double() for a in range(0, 35, length)]
    start = torch.cat([(v - v.min()) / (v.max() - v.min()) for v in chunks])
    kept = index.double() / (2**bits - 1) - start

    def objective(values):
        total = 0.0
        for a in range(0, 35, length):
            part = slice(a, min(a + length, 35))
            v = values[part]
            low, width = v.min(), v.max() - v.min()
            unit = (v - low) / width + kept[part]
            total += float((gradient[part].double() * (unit * width + low)).sum())
        return total

    for i in range(35):
        nudge = torch.zeros(35, dtype=torch.float64)
        nudge[i] = 1e-6
        slope = (objective(x.double() + nudge) - objective(x.double() - nudge)) / 2e-6
        loose = 1e-4 if scale_dtype == "float32" else 2e-2
        assert float(ours[i]) == pytest.approx(slope, rel=loose, abs=loose)


def test_gradient_through_the_scale_of_equal_ends():
    gradient = torch.tensor([1.0, 2.0, 3.0, 4.0])
    constant = torch.full((4,), 0.5)
    zeros = torch.zeros(4, dtype=torch.uint8)
    assert torch.equal(uniform_scale_gradient(gradient, constant, zeros, 2, None), gradient)
    x = torch.tensor([0.0, 1.0, 0.4, 1.0])  # two largest: the first of them counts
    index = uniform_codes(x, 1, None).numbers
    assert index.tolist() == [0, 1, 0, 1]
    moved = 3.0 * (0.0 - 0.4)
    expected = gradient + torch.tensor([-moved, moved, 0.0, 0.0])
    assert torch.allclose(uniform_scale_gradient(gradient, x, index, 1, None), expected)
    wide = uniform_scale_gradient(gradient.double(), x, index, 1, None)
    assert wide.dtype == torch.float64 and torch.allclose(wide, expected.double(), atol=1e-6)
