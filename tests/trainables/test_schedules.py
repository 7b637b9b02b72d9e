"""Schedules and optimizers against their formulas."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainables.optimizers import OPTIMIZERS, SGD, AdamW
from trainables.ranges import Range
from trainables.schedules import SCHEDULES, Constant, Cosine, Cubic, Linear

progress = st.floats(0, 1)


@pytest.mark.parametrize("cls", SCHEDULES)
def test_schedules_are_finite_over_training(cls):
    assert all(math.isfinite(cls()(t / 100)) for t in range(101))


@given(progress)
def test_closed_forms(t):
    assert Constant(0.3)(t) == 0.3
    assert Linear(1.0, 0.2)(t) == pytest.approx(1.0 - 0.8 * t)
    assert Cosine(2.0, 1.0)(t) == pytest.approx(1.5 + 0.5 * math.cos(math.pi * t))


@given(st.sampled_from(SCHEDULES), st.floats(-9, 9), st.floats(-9, 9), progress)
def test_bounds_hold_throughout(cls, start, end, t):
    schedule = cls(start) if cls is Constant else cls(start, end)
    low, high = schedule.bounds()
    assert low - 1e-9 <= schedule(t) <= high + 1e-9
    Range(low, high).check("depth", schedule)
    for range_ in ((low + 0.1, high + 0.2), (low - 0.2, high - 0.1)):
        with pytest.raises(ValueError, match="depth must stay in"):
            Range(*range_).check("depth", schedule)


@given(st.sampled_from(SCHEDULES), st.floats(-9, 9), st.floats(-9, 9), progress)
def test_a_schedule_and_its_rest_make_one(cls, start, end, t):
    schedule = cls(start) if cls is Constant else cls(start, end)
    assert schedule(t) + schedule.rest()(t) == pytest.approx(1.0)


@given(progress, progress)
def test_the_cubic_ramp_rises_and_keeps_its_ends(a, b):
    ramp = Cubic(0.1, 0.9, 0.2, 0.8)
    low, high = sorted((a, b))
    assert ramp(low) <= ramp(high) + 1e-12
    assert ramp(0.2) == pytest.approx(0.1) and ramp(0.8) == pytest.approx(0.9) == ramp(1.0)
    with pytest.raises(ValueError, match=r"begin=0\.8, finish=0\.2"):
        Cubic(0, 1, 0.8, 0.2)


@pytest.mark.parametrize("cls", OPTIMIZERS)
def test_optimizers_go_downhill_and_check_their_rate(cls):
    weight = torch.nn.Parameter(torch.tensor([3.0]))
    optimizer = cls(learning_rate=0.05).build([weight])
    for _ in range(200):
        optimizer.zero_grad()
        (weight**2).sum().backward()
        optimizer.step()
    assert abs(weight.item()) < 0.5
    with pytest.raises(ValueError, match=r"learning_rate=0\.0"):
        cls(learning_rate=0.0)


def test_momentum_is_nesterovs():
    group = SGD(0.1, momentum=0.9).build([torch.nn.Parameter(torch.zeros(1))]).param_groups[0]
    assert group["nesterov"] and group["momentum"] == 0.9
    assert not SGD(0.1, momentum=0.0).build([torch.nn.Parameter(torch.zeros(1))]).param_groups[0]["nesterov"]
    assert AdamW(weight_decay=0.0).weight_decay == 0.0
