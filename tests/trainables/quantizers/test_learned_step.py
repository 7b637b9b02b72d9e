"""LSQ against the paper's formulas."""

import math

import pytest
import torch

from trainables.quantizers import LearnedStep


def reference(weight, step, low, high):
    """Equation 3 of the paper and its scale, value by value in float64."""
    d_step, d_weight = 0.0, []
    for value in weight.double().tolist():
        ratio = value / step
        inside = low < ratio < high
        d_weight.append(1.0 if inside else 0.0)
        d_step += (round(ratio) - ratio) if inside else (low if ratio <= low else high)
    return d_step / math.sqrt(weight.numel() * high), d_weight


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_gradients_are_the_papers(bits):
    torch.manual_seed(0)
    weight = torch.randn(40, 25, requires_grad=True)
    part = LearnedStep(bits)
    module = part.build(weight)
    with torch.no_grad():
        module.step.fill_(0.37)
    module(weight).sum().backward()
    d_step, d_weight = reference(weight.detach().reshape(-1), module.step.item(), part.lowest, part.highest)
    assert float(module.step.grad) == pytest.approx(d_step, rel=1e-4)
    assert weight.grad.reshape(-1).tolist() == d_weight


def test_values_at_the_ends_of_the_range_are_outside_it():
    part = LearnedStep(2)  # levels -2, -1, 0, 1
    weight = torch.tensor([-2.0, -1.0, 0.0, 1.0, 5.0, -5.0], requires_grad=True)
    module = part.build(weight)
    assert module(weight).tolist() == [-2.0, -1.0, 0.0, 1.0, 1.0, -2.0]
    module(weight).sum().backward()
    assert weight.grad.tolist() == [0.0, 1.0, 1.0, 0.0, 0.0, 0.0]


def test_channels_have_steps_of_their_own():
    weight = torch.tensor([[1.0, -1.0], [100.0, -100.0]])
    module = LearnedStep(3, per_channel=True).build(weight)
    module.initialize(weight)
    first, second = (float(step) for step in module.step.reshape(-1))
    assert first == pytest.approx(2 / math.sqrt(3)) and second == pytest.approx(100 * first)
    module(weight).square().sum().backward()
    assert module.step.grad.shape == (2, 1)
    alone = LearnedStep(3).build(weight[1:])
    alone.initialize(weight[1:])
    alone(weight[1:]).square().sum().backward()
    assert float(module.step.grad[1]) == pytest.approx(float(alone.step.grad))


def test_pruned_weights_stay_zero_and_do_not_move_the_start():
    weight = torch.tensor([[2.0, 0.0, 0.0, -2.0]])
    module = LearnedStep(4).build(weight)
    module.initialize(weight)
    assert float(module.step) == pytest.approx(2 * 2.0 / math.sqrt(7))
    assert module(weight)[0, 1:3].tolist() == [0.0, 0.0]
    assert module.encode(weight, (1, 4), None).decode()[0, 1:3].tolist() == [0.0, 0.0]


def test_a_step_never_crosses_zero():
    weight = torch.randn(5)
    module = LearnedStep(4, scale_dtype="float16").build(weight)
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    with torch.no_grad():
        module.step.fill_(-3.0)
    module.constrain(optimizer)
    assert float(module.step) > 0 and bool(torch.isfinite(module(weight)).all())


@pytest.mark.parametrize("bits", [0, 1, 9])
def test_bits_out_of_range(bits):
    with pytest.raises(ValueError, match=f"bits={bits}"):
        LearnedStep(bits)
