"""What every pruner promises."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from trainables.by_name import Where
from trainables.pruners import PRUNERS, Magnitude, NoPruner, PrunerByName, Saliency, TargetedDropout
from trainables.pruners.magnitude import largest
from trainables.schedules import Constant, Cubic

VARIANTS = [
    NoPruner(),
    Magnitude(),
    Magnitude(0.95, updates=5),
    Magnitude(0.0),
    Magnitude(0.8, Constant(1.0)),
    PrunerByName((Where("nowhere", Magnitude(0.9)),), NoPruner()),
    PrunerByName((Where("weight", Saliency(sparsity=0.25, updates=5)),), NoPruner()),
    TargetedDropout(1 / 3, 1.0),  # of 9 weights in a row; at rate 1 nothing is left to chance
    Saliency("fisher", updates=5),
    Saliency(sparsity=0.6, updates=20),
]


def test_every_member_is_tried():
    assert {type(part) for part in VARIANTS} == set(PRUNERS)


@pytest.mark.parametrize("part", VARIANTS, ids=str)
def test_nothing_is_masked_before_the_first_update_and_the_end_is_what_ships(part):
    torch.manual_seed(0)
    weight, gradient = torch.randn(40, 9), torch.ones(40, 9)  # where it is the weight alone that counts
    mask = part.build(weight, "weight")
    assert mask.current() is None
    announced = mask.shipped(weight)
    announced = None if announced is None else announced.clone()
    previous = 0
    for step in range(1, 101):
        mask.update(weight, gradient if mask.needs_gradient else None, step / 100)
        part.decide({"weight": mask}, step / 100)
        keep = mask.current()
        zeros = 0 if keep is None else int((~keep).sum())
        assert zeros >= previous
        previous = zeros
    acting = part.part_for("weight") if isinstance(part, PrunerByName) else part
    expected = round(getattr(acting, "sparsity", 0.0) * weight.numel())
    assert previous == expected
    if announced is not None:
        assert int((~announced).sum()) == expected
        assert torch.equal(announced, mask.current())  # the weights did not move
        assert torch.equal(mask.shipped(weight), mask.current())


@given(st.integers(1, 60), st.floats(0, 0.999))
def test_largest_against_sorting(count, sparsity):
    weight = torch.randn(count, generator=torch.Generator().manual_seed(count))
    keep = largest(weight, sparsity)
    kept = max(count - round(sparsity * count), 1)
    assert int(keep.sum()) == kept
    assert sorted(weight[keep].abs().tolist()) == sorted(weight.abs().tolist())[count - kept :]


def test_ties_go_to_the_earlier_element():
    assert largest(torch.ones(4), 0.5).tolist() == [True, True, False, False]


def test_magnitude_follows_the_cubic_ramp():
    part = Magnitude(0.8, Cubic(0.0, 1.0, 0.2, 0.7), updates=10)
    weight = torch.randn(1000)
    mask = part.build(weight)
    for stage in range(1, 11):
        mask.update(weight, None, stage / 10)
        t = min(max((stage / 10 - 0.2) / 0.5, 0), 1)
        expected = 0.8 + (0.0 - 0.8) * (1 - t) ** 3  # Zhu & Gupta, eq. 1, from 0
        assert float((~mask.current()).float().mean() if mask.current() is not None else 0) == pytest.approx(
            expected, abs=1e-3
        )


def test_the_mask_is_frozen_when_the_ramp_is_over():
    part = Magnitude(0.5, Cubic(0.0, 1.0, 0.0, 0.5), updates=10)
    weight = torch.arange(10.0)
    mask = part.build(weight)
    mask.update(weight, None, 0.5)
    before = mask.current().clone()
    mask.update(-weight.flip(0) * 7, None, 1.0)
    assert torch.equal(mask.current(), before)


def test_wrong_values_are_named():
    with pytest.raises(ValueError, match=r"sparsity=1\.5"):
        Magnitude(1.5)
    with pytest.raises(ValueError, match="ramp"):
        Magnitude(0.5, Constant(0.3))
