"""Sharing learned levels out by gradient."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainables.quantizers.sharing import share_levels


def bits(sizes, levels):
    return sum(size * math.log2(count) for size, count in zip(sizes, levels, strict=True))


TENSORS = st.lists(
    st.tuples(st.integers(1, 10**7), st.floats(0, 1e6), st.integers(1, 8).map(lambda width: 2**width)),
    min_size=1,
    max_size=12,
)


@given(TENSORS)
def test_the_total_of_bits_is_never_exceeded_and_limits_hold(tensors):
    sizes, norms, levels = map(list, zip(*tensors, strict=True))
    shared = share_levels(sizes, norms, levels)
    assert bits(sizes, shared) <= bits(sizes, levels) * (1 + 1e-9)
    assert all(max(2, count // 2) <= new <= 256 for new, count in zip(shared, levels, strict=True))


@given(st.integers(1, 6), st.integers(2, 8), st.floats(1e-6, 1e6), st.integers(1, 10**6))
def test_equal_gradients_per_weight_change_nothing(count, width, gradient, size):
    sizes = [size * (number + 1) for number in range(count)]
    norms = [gradient * math.sqrt(size) for size in sizes]
    assert share_levels(sizes, norms, [2**width] * count) == [2**width] * count


def test_no_gradient_at_all_changes_nothing():
    assert share_levels([10, 20], [0.0, 0.0], [16, 4]) == [16, 4]


def test_the_steeper_tensor_gets_more_and_almost_all_bits_are_used():
    shared = share_levels([1000, 1000, 1000], [1.0, 2.0, 4.0], [16, 16, 16])
    assert shared[0] < shared[1] < shared[2]
    # The closed form: levels in proportion to the gradients, at a geometric mean of 16.
    assert shared == pytest.approx([8, 16, 32], abs=1)
    assert bits([1000] * 3, shared) >= 0.97 * bits([1000] * 3, [16] * 3)


def test_a_large_tensor_pays_for_its_size():
    # The same norm over a thousand times the weights: per weight the small one is steeper. Its 256 levels
    # cost 400 bits more, which the large one pays with less than one of its own.
    assert share_levels([100, 100_000], [1.0, 1.0], [16, 16]) == [256, 15]
