"""What every quantizer promises."""

import pytest
import torch

from trainables.by_name import Where
from trainables.quantizers import (
    QUANTIZERS,
    Graded,
    LearnedPoints,
    LearnedStep,
    NoQuantizer,
    PseudoNoise,
    QuantizerByName,
    Rows,
    Symmetric,
    Uniform,
    Zero,
)
from trainables.quantizers.base import Codes
from trainables.quantizers.rows import RowGroup

VARIANTS = [
    NoQuantizer(),
    Uniform(),
    LearnedPoints(),
    Symmetric(),
    LearnedStep(),
    Zero(),
    Graded(spread=1.0),
    Graded(0.2, 0.4, 0.9, 0.0, budget=1.0),
    QuantizerByName((Where("other", Zero()),), Uniform(3, 16)),
    QuantizerByName((Where("wei*", LearnedStep(3)),), Uniform(3, 16)),
    Rows((RowGroup(0.3, Symmetric(6)), RowGroup(0.3, LearnedStep(3)), RowGroup(0.4, Zero()))),
    Uniform(3, 32, gradient="truncated"),
    Uniform(3, 32, gradient="through_scale", scale_dtype="float16"),
    LearnedPoints(3, None, initial="kmeans", share=True),
    Symmetric(2, per_channel=False, scale_dtype="float16"),
    Symmetric(4, per_channel=False, bucket_size=16),
    LearnedStep(2, per_channel=True, scale_dtype="float16"),
    Uniform(1, 32, scale_dtype="float16"),
    Uniform(8, None),
    Uniform(2, 64, rounding="stochastic"),
    LearnedPoints(2, 32, scale_dtype="float16"),
    LearnedPoints(8, None, initial="uniform"),
    PseudoNoise(),
    PseudoNoise(1, initial_bits=3.0, noise="uniform", parametrisation="noise", extra_bits=1.0),
    PseudoNoise(None, most_bits=8.5, least_bits=1.0),
    PseudoNoise(smallest_mb=1.0),
]
SHAPES = [(1,), (7,), (3, 5), (16, 3, 3, 3), (257, 13)]


def test_every_member_is_tried():
    assert {type(part) for part in VARIANTS} == set(QUANTIZERS)


@pytest.mark.parametrize("part", VARIANTS, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_encode_decodes_to_the_forward_pass_bit_for_bit(part, shape):
    torch.manual_seed(0)
    weight = torch.randn(shape)
    module = part.build(weight, "weight").eval()
    for keep in (None, torch.rand(shape) < 0.4):
        if module.exact_zero:
            values, mask = (weight if keep is None else weight * keep), None
        else:
            values, mask = (weight.reshape(-1) if keep is None else weight[keep]), keep
        module.initialize(values)
        stored = module.encode(values, tuple(shape), mask)
        decoded = stored.decode()
        assert decoded.shape == weight.shape and decoded.dtype == torch.float32
        kept = decoded.reshape(values.shape) if mask is None else decoded[mask]
        assert torch.equal(kept, module(values))
        if keep is not None:
            assert not decoded[~keep].any()
        if isinstance(stored, Codes):
            assert stored.index.dtype == torch.uint8
            assert stored.index.numel() == values.numel()
            assert values.numel() == 0 or int(stored.index.max()) < 2**stored.bits
            assert (stored.zero is None) == (not module.exact_zero)


@pytest.mark.parametrize("part", VARIANTS, ids=str)
def test_gradients_reach_the_weights_and_penalties_are_scalars(part):
    weight = torch.randn(10, 5, requires_grad=True)
    module = part.build(weight, "weight")
    given = weight if module.exact_zero else weight.reshape(-1)
    module.initialize(given.detach())
    module(given).square().sum().backward()
    assert weight.grad is not None and bool(weight.grad.abs().sum() > 0) == (part != Zero())
    assert (float(torch.as_tensor(module.penalty()).detach()) > 0) == bool(
        getattr(part, "penalty", 0.0) and list(module.parameters())
    )


@pytest.mark.parametrize("part", VARIANTS, ids=str)
def test_an_uninitialized_quantizer_ships_as_if_it_started_now(part):
    weight = torch.randn(20, 10)
    fresh, started = part.build(weight, "weight"), part.build(weight, "weight")
    given = weight if fresh.exact_zero else weight.reshape(-1)
    started.initialize(given)
    shape = (20, 10)
    assert torch.equal(fresh.encode(given, shape, None).decode(), started.encode(given, shape, None).decode())
