"""What every quantizer promises."""

import pytest
import torch

from trainables.quantizers import QUANTIZERS, LearnedPoints, Uniform
from trainables.quantizers.base import Codes

VARIANTS = [cls() for cls in QUANTIZERS] + [
    Uniform(1, 32, scale_dtype="float16"),
    Uniform(8, None),
    Uniform(2, 64, rounding="stochastic"),
    LearnedPoints(2, 32, scale_dtype="float16"),
    LearnedPoints(8, None, initial="uniform"),
]
SHAPES = [(1,), (7,), (3, 5), (16, 3, 3, 3), (257, 13)]


@pytest.mark.parametrize("part", VARIANTS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_encode_decodes_to_the_forward_pass_bit_for_bit(part, shape):
    torch.manual_seed(0)
    weight = torch.randn(shape)
    module = part.build(weight).eval()
    for keep in (None, torch.rand(shape) < 0.4):
        values = weight.reshape(-1) if keep is None else weight[keep]
        module.initialize(values)
        stored = module.encode(values, tuple(shape), keep)
        decoded = stored.decode()
        assert decoded.shape == weight.shape and decoded.dtype == torch.float32
        kept = decoded.reshape(-1) if keep is None else decoded[keep]
        assert torch.equal(kept, module(values))
        if keep is not None:
            assert not decoded[~keep].any()
        if isinstance(stored, Codes):
            assert stored.index.dtype == torch.uint8
            assert stored.index.numel() == values.numel()
            assert values.numel() == 0 or int(stored.index.max()) < 2**stored.bits


@pytest.mark.parametrize("part", VARIANTS, ids=str)
def test_gradients_reach_the_weights_and_penalties_are_scalars(part):
    weight = torch.randn(50, requires_grad=True)
    module = part.build(weight)
    module.initialize(weight.detach())
    module(weight).square().sum().backward()
    assert weight.grad is not None and bool(weight.grad.abs().sum() > 0)
    assert float(module.penalty()) == 0.0


@pytest.mark.parametrize("part", VARIANTS, ids=str)
def test_an_uninitialized_quantizer_ships_as_if_it_started_now(part):
    weight = torch.randn(200)
    fresh, started = part.build(weight), part.build(weight)
    started.initialize(weight)
    assert torch.equal(
        fresh.encode(weight, (200,), None).decode(), started.encode(weight, (200,), None).decode()
    )
