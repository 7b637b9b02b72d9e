"""Finding the nearest point three ways, and k-means on a line, against brute force and scikit-learn."""

from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.cluster import KMeans

from trainables.quantizers.kernels import nearest
from trainables.quantizers.kernels.buckets import scale_buckets
from trainables.quantizers.kernels.points import decode_points, initial_points, nearest_point, quantize_points
from trainables.quantizers.kernels.symmetric import decode_symmetric
from trainables.quantizers.kernels.uniform import decode_uniform, quantize_uniform
from trainables.quantizers.kmeans import kmeans_points

unit_ = st.floats(0, 1, width=32)


def by_halving(unit, points):
    return torch.bucketize(unit, (points[1:] + points[:-1]) / 2, right=True)


def drawn_points(count, seed, kind):
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(count, generator=generator).sort().values
    if kind == "crowded":
        points = 0.5 + points * 1e-5
    elif kind == "spike":
        points[count // 4 : count // 4 + 3] = points[count // 4]
    elif kind == "outside":
        points = points * 1.4 - 0.2
    return points


@pytest.mark.parametrize("kind", ["even", "crowded", "spike", "outside"])
@pytest.mark.parametrize("count", [2, 3, 8, 9, 16, 33, 256])
def test_all_ways_answer_the_same(kind, count):
    points = drawn_points(count, count, kind)
    middles = (points[1:] + points[:-1]) / 2
    below = torch.nextafter(middles, torch.tensor(-9.0))
    unit = torch.cat([torch.rand(2 * nearest.MANY_VALUES), points, middles, below, torch.tensor([0.0, 1.0])])
    assert torch.equal(nearest_point(unit, points), by_halving(unit, points))
    assert torch.equal(nearest_point(unit[:40], points), by_halving(unit[:40], points))


def test_the_table_is_used_and_gives_way():
    even = nearest.Finder(torch.linspace(0, 1, 64), nearest.MANY_VALUES)
    assert even.few is None and even.table is not None
    crowded = nearest.Finder(0.5 + torch.linspace(0, 1e-6, 64), nearest.MANY_VALUES)
    assert crowded.few is None and crowded.table is None
    assert nearest.Finder(torch.linspace(0, 1, 64), 10).table is None


def test_values_far_outside_and_not_a_number():
    points = torch.linspace(0, 1, 16)
    unit = torch.rand(nearest.MANY_VALUES)
    unit[:5] = torch.tensor([-1e30, 1e30, -torch.inf, torch.inf, torch.nan])
    found = nearest_point(unit, points)
    assert found[:4].tolist() == [0, 15, 0, 15]
    assert 0 <= int(found[4]) <= 15
    assert torch.equal(found[5:], by_halving(unit[5:], points))


def inertia(values, centres):
    return float((values.double().reshape(-1, 1) - centres.double()).abs().amin(1).square().sum())


def even_centres(values, count):
    return torch.linspace(float(values.min()), float(values.max()), count, dtype=torch.float64)


@given(arrays(np.float32, st.integers(1, 40), elements=unit_).map(torch.from_numpy), st.integers(1, 9))
def test_kmeans_never_gets_worse_and_stands_still(values, count):
    sums = [inertia(values, kmeans_points(values, count, n)) for n in range(8)]
    assert sums[0] == pytest.approx(inertia(values, even_centres(values, count)), abs=1e-12)
    for before, after in pairwise(sums):
        assert after <= before + 1e-12
    centres = kmeans_points(values, count)
    assert bool((centres.diff() >= 0).all())
    distinct = values.unique()
    if distinct.numel() <= count:
        assert inertia(values, centres) == 0
        assert bool(torch.isin(distinct.double(), centres).all())
        return
    # A fixed point: each centre is the mean of the values nearest to it, and each has some.
    nearest_centre = (values.double().reshape(-1, 1) - centres).abs().argmin(1)
    ties = (values.double().reshape(-1, 1) - centres).abs().sort(1).values
    if count > 1 and bool((ties[:, 1] - ties[:, 0] < 1e-9).any()):
        return
    for j in range(count):
        members = values.double()[nearest_centre == j]
        assert members.numel() and float(members.mean()) == pytest.approx(float(centres[j]), abs=1e-9)


def test_kmeans_against_scikit_learn_from_the_same_start():
    for seed, count in [(0, 4), (1, 16), (2, 32)]:
        values = torch.randn(3000, generator=torch.Generator().manual_seed(seed)).float()
        ours = kmeans_points(values, count)
        start = even_centres(values, count).reshape(-1, 1).numpy()
        theirs = KMeans(count, init=start, n_init=1, max_iter=1000, tol=0.0).fit(
            values.double().numpy().reshape(-1, 1)
        )
        assert inertia(values, ours) <= theirs.inertia_ * (1 + 1e-3)
        if count == 4:  # no cluster is ever empty: the same steps
            assert np.allclose(np.sort(theirs.cluster_centers_.ravel()), ours.numpy(), atol=1e-6)


def test_kmeans_splits_where_an_even_start_leaves_clusters_empty():
    values = torch.tensor([0.0] * 50 + [0.01] * 50 + [0.02] * 50 + [1.0])
    centres = kmeans_points(values, 4)
    assert centres.tolist() == pytest.approx([0.0, 0.01, 0.02, 1.0], abs=1e-8)


def test_kmeans_finds_the_best_split_of_clear_groups():
    values = torch.tensor([0.0, 0.05, 0.1, 0.5, 0.52, 0.95, 1.0])
    ordered = values.double()
    best = min(
        sum(float((part - part.mean()).square().sum()) for part in ordered.tensor_split(list(cuts)))
        for cuts in combinations(range(1, 7), 2)
    )
    assert inertia(values, kmeans_points(values, 3)) == pytest.approx(best)


def test_initial_points_by_kmeans():
    x = torch.randn(2000, generator=torch.Generator().manual_seed(0))
    points = initial_points(x, 8, 64, "kmeans")
    assert points.dtype == torch.float32 and points.shape == (8,) and bool((points.diff() > 0).all())
    unit = scale_buckets(x, 64).unit.reshape(-1)[:2000]
    assert inertia(unit, points) < 0.9 * inertia(unit, initial_points(x, 8, 64, "uniform"))
    assert inertia(unit, points) < inertia(unit, initial_points(x, 8, 64, "quantile"))
    assert torch.equal(initial_points(torch.full((9,), 2.0), 3, None, "kmeans"), torch.zeros(3))
    assert torch.equal(initial_points(torch.empty(0), 3, None, "kmeans"), torch.linspace(0, 1, 3))


def test_wrong_arguments_name_the_value():
    with pytest.raises(ValueError, match="count=0"):
        kmeans_points(torch.ones(3), 0)
    with pytest.raises(ValueError, match="empty"):
        kmeans_points(torch.empty(0), 2)


@pytest.mark.parametrize("points", [[1.0, 0.5, 0.0], [0.0, float("nan"), 1.0], [0.5]])
def test_points_must_ascend(points):
    for use in (lambda x, p: quantize_points(x, p, None), nearest_point):
        with pytest.raises(ValueError, match="points must"):
            use(torch.rand(5), torch.tensor(points))


def test_codes_of_no_level_are_refused():
    index, one = torch.tensor([0, 4], dtype=torch.uint8), torch.ones(1)
    with pytest.raises(ValueError, match=r"codes must be in \[0, 3\], got 0 to 4"):
        decode_uniform(index, one, one, 2, None)
    with pytest.raises(ValueError, match="codes must be in"):
        decode_points(index, one, one, torch.tensor([0.0, 0.5, 1.0]), None)
    with pytest.raises(ValueError, match="codes must be in"):
        decode_symmetric(index, one, 2, None)


@pytest.mark.parametrize("bits", [2.5, "4", 0, 9])
def test_bits_are_whole(bits):
    with pytest.raises(ValueError, match="bits must be"):
        quantize_uniform(torch.rand(5), bits, None)


@pytest.mark.parametrize("bucket_size", [2.5, 0])
def test_buckets_are_whole(bucket_size):
    with pytest.raises(ValueError, match="bucket_size must be"):
        quantize_uniform(torch.rand(5), 2, bucket_size)
