"""Properties of the quantization functions, against closed forms, brute force and finite differences."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from trainables.quantizers import LearnedPoints, Uniform
from trainables.quantizers.kernels.buckets import scale_buckets
from trainables.quantizers.kernels.points import initial_points, nearest_point, quantize_points
from trainables.quantizers.kernels.uniform import quantize_uniform

finite = st.floats(-100, 100, width=32, allow_subnormal=False)
vectors = arrays(np.float32, st.integers(0, 97), elements=finite).map(torch.from_numpy)
bits_ = st.integers(1, 8)
buckets_ = st.one_of(st.none(), st.integers(1, 40))
dtypes = st.sampled_from(["float32", "float16"])


def per_element(x, bucket_size, values):
    """One value per bucket -> one per element."""
    length = max(x.numel(), 1) if bucket_size is None else bucket_size
    return values.reshape(-1)[torch.arange(x.numel()) // length]


@given(vectors, bits_, buckets_)
def test_error_is_at_most_half_a_step_and_levels_are_few(x, bits, bucket_size):
    values = quantize_uniform(x, bits, bucket_size)
    scale = per_element(x, bucket_size, scale_buckets(x, bucket_size).scale)
    assert values.shape == x.shape and values.dtype == x.dtype
    assert bool(((values - x).abs() <= scale / (2 * (2**bits - 1)) * 1.001 + 1e-5).all())
    length = max(x.numel(), 1) if bucket_size is None else bucket_size
    for bucket, original in zip(values.split(length), x.split(length), strict=True):
        if bucket.numel():
            assert bucket.unique().numel() <= 2**bits
            assert torch.isclose(bucket.min(), original.min(), rtol=1e-5, atol=1e-5)
            assert torch.isclose(bucket.max(), original.max(), rtol=1e-5, atol=1e-4)


@given(vectors, bits_, buckets_)
def test_quantizing_twice_changes_nothing_much(x, bits, bucket_size):
    once = quantize_uniform(x, bits, bucket_size)
    assert torch.allclose(quantize_uniform(once, bits, bucket_size), once, rtol=1e-5, atol=1e-4)


@given(vectors, bits_, buckets_, st.floats(0.125, 10, width=32), finite)
def test_affine_equivariance(x, bits, bucket_size, factor, shift):
    unit = scale_buckets(x, bucket_size).unit.reshape(-1)[: x.numel()] * (2**bits - 1)
    clear = ((unit - unit.floor()) - 0.5).abs() > 0.02  # away from rounding boundaries
    wide = per_element(x, bucket_size, scale_buckets(x, bucket_size).scale) > 0.5
    ours = quantize_uniform(x * factor + shift, bits, bucket_size)
    expected = quantize_uniform(x, bits, bucket_size) * factor + shift
    assert torch.allclose(ours[clear & wide], expected[clear & wide], rtol=1e-4, atol=2e-3)


@given(vectors, bits_, buckets_, dtypes)
def test_scales_are_used_as_stored(x, bits, bucket_size, scale_dtype):
    buckets = scale_buckets(x, bucket_size, scale_dtype)
    dtype = getattr(torch, scale_dtype)
    assert torch.equal(buckets.scale, buckets.scale.to(dtype).float())
    assert torch.equal(buckets.offset, buckets.offset.to(dtype).float())
    assert bool(((buckets.unit >= 0) & (buckets.unit <= 1)).all())


def test_constant_tensor_is_exact_and_many_bits_are_fine():
    constant = torch.full((300,), 0.3)
    assert torch.equal(quantize_uniform(constant, 1, 64), constant)


def test_shape_and_remainder_do_not_matter():
    x = torch.randn(7, 3, 5)
    whole = quantize_uniform(x, 3, None)
    assert torch.equal(whole, quantize_uniform(x, 3, x.numel()))
    assert torch.equal(whole, quantize_uniform(x, 3, 10_000))
    flat = quantize_uniform(x, 3, 32).reshape(-1)
    for start in range(0, 105, 32):
        part = x.reshape(-1)[start : start + 32]
        assert torch.equal(flat[start : start + 32], quantize_uniform(part, 3, None))


def test_stochastic_rounding_is_unbiased_and_keeps_levels():
    x = torch.linspace(0, 1, 11)
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack(
        [quantize_uniform(x, 2, None, rounding="stochastic", generator=generator) for _ in range(4000)]
    )
    error = draws.std(0) / 4000**0.5
    assert bool(((draws.mean(0) - x).abs() <= 4 * error + 1e-6).all())
    assert draws[:, 0].unique().numel() == 1 and draws[:, -1].unique().numel() == 1


@given(vectors, st.lists(st.floats(0, 1, width=32, allow_subnormal=False), min_size=2, max_size=9), buckets_)
def test_nearest_point_against_brute_force(x, levels, bucket_size):
    points = torch.tensor(sorted(levels))
    unit = scale_buckets(x, bucket_size).unit.reshape(-1)[: x.numel()]
    chosen = nearest_point(unit, points)
    distances = (unit[:, None] - points).abs()
    assert torch.allclose(distances[torch.arange(x.numel()), chosen], distances.amin(1), atol=1e-6)


def test_even_points_equal_the_uniform_grid():
    x = torch.randn(1000)
    points = torch.arange(8) / 7
    values, index = quantize_points(x, points, 64)
    assert torch.allclose(values, quantize_uniform(x, 3, 64), atol=1e-6)
    assert index.shape == x.shape and int(index.max()) <= 7


def test_quantile_points_hold_equal_mass():
    x = torch.randn(1001)
    points = initial_points(x, 5, None)
    assert points[0] == 0 and points[-1] == 1 and bool((points.diff() >= 0).all())
    unit = scale_buckets(x, None).unit.reshape(-1)
    inside = [int(((unit >= a) & (unit < b)).sum()) for a, b in pairwise(points)]
    assert all(abs(count - 250) <= 2 for count in inside)
    assert torch.equal(initial_points(x, 5, None, "uniform"), torch.linspace(0, 1, 5))
    assert torch.equal(initial_points(torch.empty(0), 3, None), torch.linspace(0, 1, 3))


def test_gradient_of_points_equals_finite_differences():
    torch.manual_seed(0)
    weight, upstream = torch.randn(500), torch.randn(500)
    module = LearnedPoints(3, 64, scale_dtype="float32").build(weight)
    module.initialize(weight)
    values = module(weight.requires_grad_())
    values.backward(upstream)
    assert torch.equal(weight.grad, upstream)  # weights: straight through
    buckets = scale_buckets(weight, 64)
    index = nearest_point(buckets.unit, module.points.detach())
    scale = buckets.scale.expand_as(buckets.unit).reshape(-1)[:500].double()

    def objective(points):
        return float((upstream.double() * scale * points[index.reshape(-1)[:500]]).sum())

    base = module.points.detach().double()
    for j in range(8):
        step = torch.zeros(8, dtype=torch.float64)
        step[j] = 1e-3
        slope = (objective(base + step) - objective(base - step)) / 2e-3
        assert float(module.points.grad[j]) == pytest.approx(slope, rel=1e-4, abs=1e-4)
    assert float(module.points.grad.sum()) == pytest.approx(
        float((scale * upstream).sum()), rel=1e-4, abs=1e-3
    )


def test_points_are_sorted_with_their_momentum():
    weight = torch.randn(100)
    module = LearnedPoints(2, None).build(weight)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    module.points.grad = torch.tensor([1.0, 2.0, 3.0, 4.0])
    optimizer.step()
    module.points.data = torch.tensor([0.9, 0.1, 0.5, 0.3])
    module.constrain(optimizer)
    assert module.points.tolist() == pytest.approx([0.1, 0.3, 0.5, 0.9])
    assert optimizer.state[module.points]["momentum_buffer"].tolist() == [2.0, 4.0, 3.0, 1.0]


def test_straight_through_gradient_is_the_identity():
    weight = torch.randn(100, requires_grad=True)
    upstream = torch.randn(100)
    Uniform(2, 16).build(weight)(weight).backward(upstream)
    assert torch.equal(weight.grad, upstream)


def test_wrong_arguments_name_the_value():
    x = torch.randn(4)
    for call, text in [
        (lambda: quantize_uniform(x, 9, None), "bits=9"),
        (lambda: quantize_uniform(x, 2, 0), "bucket_size=0"),
        (lambda: quantize_uniform(x, 2, None, rounding="up"), "'up'"),
        (lambda: quantize_uniform(x, 2, None, scale_dtype="int8"), "'int8'"),
        (lambda: initial_points(x, 1, None), "count=1"),
        (lambda: initial_points(x, 2, None, "middle"), "'middle'"),
        (lambda: Uniform(bits=0), "bits=0"),
        (lambda: Uniform(bucket_size=1), "bucket_size=1"),
        (lambda: LearnedPoints(initial="kmeans?"), "kmeans?"),
        (lambda: Uniform(bits=2.5), "2.5"),
    ]:
        with pytest.raises(ValueError, match=text.replace("?", r"\?")):
            call()
