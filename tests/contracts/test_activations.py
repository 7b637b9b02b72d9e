"""What every quantizer of inputs promises."""

import copy
import dataclasses

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from trainables.activations import (
    ACTIVATIONS,
    ActivationsByName,
    LearnedClip,
    MovingRange,
    NoActivationQuantizer,
)
from trainables.activations.base import Grid
from trainables.activations.functional import grid_between
from trainables.by_name import Where
from trainables.pruners import NoPruner

VARIANTS = [
    MovingRange(),
    LearnedClip(),
    MovingRange(2, momentum=0.5),
    MovingRange(4),
    MovingRange(5, momentum=0.0),
    LearnedClip(8),
    LearnedClip(2, decay=0.0),
    LearnedClip(4, initial=6.0),
]
MIXED = ActivationsByName((Where("0.*", LearnedClip(4)), Where("2", NoActivationQuantizer())), MovingRange(6))


def test_every_member_is_tried():
    tried = {type(part) for part in (*VARIANTS, MIXED, NoActivationQuantizer())}
    assert tried == set(ACTIVATIONS)


def test_by_name_each_layer_has_its_own():
    assert isinstance(MIXED.build("0.3"), type(LearnedClip(4).build())) and MIXED.build("0.3").bits == 4
    assert MIXED.build("2") is None and MIXED.build("1").bits == 6
    assert MIXED.for_sums().build("0.3").bits == 8 and MIXED.for_sums().build("1").bits == 8
    with pytest.raises(ValueError, match="cannot hold another one"):
        ActivationsByName((), MIXED)
    with pytest.raises(ValueError, match="is of ActivationQuantizers, got NoPruner"):
        ActivationsByName((), NoPruner())


INPUTS = {
    "signed": torch.randn(64, 7, generator=torch.Generator().manual_seed(0)),
    "after ReLU": torch.randn(64, 7, generator=torch.Generator().manual_seed(1)).relu(),
    "negative": -torch.rand(64, 7, generator=torch.Generator().manual_seed(2)) - 1,
    "large": 1e6 * torch.randn(64, 7, generator=torch.Generator().manual_seed(3)),
    "constant": torch.full((64, 7), 3.0),
    "zero": torch.zeros(64, 7),
    "empty": torch.zeros(0, 7),
}


def calibrated(part, x):
    module = part.build().eval()
    module.begin()
    module.observing = True
    module(x)
    module.observing, module.quantizing = False, True
    return module


def by_onnx_runtime(x: torch.Tensor, grid: Grid) -> np.ndarray:
    """An oracle: the standard's own operators."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("Clip", ["q", "least", "most"], ["c"]),
        helper.make_node("DequantizeLinear", ["c", "scale", "zero"], ["y"]),
    ]
    constants = {
        "scale": grid.scale.detach().numpy(),
        "zero": grid.zero.detach().numpy().astype(np.uint8),
        "least": np.array(0, np.uint8),
        "most": np.array(2**grid.bits - 1, np.uint8),
    }
    graph = helper.make_graph(
        nodes,
        "oracle",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(x.shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, list(x.shape))],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return session.run(None, {"x": x.numpy()})[0]


@pytest.mark.parametrize("part", VARIANTS, ids=str)
@pytest.mark.parametrize("name", INPUTS)
def test_values_are_what_onnx_says_bit_for_bit(part, name):
    x = INPUTS[name]
    module = calibrated(part, x)
    around = torch.cat([x, 1.5 * x, torch.linspace(-8, 8, 7 * 200).view(200, 7)])
    with torch.no_grad():
        found = module(around)
    np.testing.assert_array_equal(found.numpy(), by_onnx_runtime(around, module.grid()))


@pytest.mark.parametrize("part", VARIANTS, ids=str)
@pytest.mark.parametrize("name", INPUTS)
def test_zero_is_exact_levels_are_few_and_close_inside_the_range(part, name):
    x = INPUTS[name]
    module = calibrated(part, x)
    scale, zero, bits = module.grid()
    assert float(scale) > 0 and 0 <= float(zero) <= 2**bits - 1 and float(zero) == round(float(zero))
    with torch.no_grad():
        assert not module(torch.zeros(3)).any()
        y = module(x)
        assert y.unique().numel() <= 2**bits
        low, high = float(-zero * scale), float((2**bits - 1 - zero) * scale)
        inside = (x >= low) & (x <= high)
        assert bool(((y - x).abs()[inside] <= 0.5001 * scale).all())
        assert torch.equal(module(y), y)


@pytest.mark.parametrize("part", VARIANTS, ids=str)
def test_what_is_off_leaves_its_input_alone(part):
    x = torch.randn(5, 3)
    module = part.build()
    assert module(x) is x
    module.observing = True
    assert module(x) is x


@pytest.mark.parametrize("part", VARIANTS, ids=str)
def test_a_calibration_depends_on_its_batches_alone(part):
    batches = [torch.randn(20, 4) * scale for scale in (1.0, 3.0, 0.5)]
    module = part.build()
    ranges = []
    for _ in range(2):
        module.begin()
        for batch in batches:
            module.observe(batch)
        ranges.append(module.range.detach().clone())
    assert torch.equal(*ranges)
    low, high = ranges[0].tolist()
    assert low < 0 < high
    untouched = copy.deepcopy(module)
    module.quantizing = True
    module.eval()(10 * batches[0])
    assert torch.equal(module.range, untouched.range)


@pytest.mark.parametrize("part", VARIANTS, ids=str)
def test_what_was_never_seen_gives_zeros_or_integers_and_no_nan(part):
    module = part.build().eval()
    module.begin()
    module.quantizing = True
    with torch.no_grad():
        assert bool(module(torch.randn(50)).isfinite().all())
        assert module.range.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("part", VARIANTS, ids=str)
@pytest.mark.parametrize("name", ["signed", "after ReLU", "large"])
def test_a_range_stored_in_float16_changes_nothing(part, name):
    x = INPUTS[name]
    module = calibrated(part, x)
    stored = copy.deepcopy(module)
    if float(stored.range.detach().abs().max()) <= 65504:
        with torch.no_grad():
            stored.range.copy_(stored.range.half().float())
    assert torch.equal(stored(x), module(x))


@pytest.mark.parametrize("part", VARIANTS, ids=str)
def test_gradients_pass_inside_the_range_alone(part):
    module = calibrated(part, INPUTS["signed"]).train()
    if isinstance(part, MovingRange):
        module.eval()  # so that the range stands still
    low, high = (float(end.half()) for end in module.range)
    x = torch.tensor([2 * low, low + 1e-3, 0.0, high - 1e-2, 2 * high], requires_grad=True)
    module(x).backward(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert x.grad.tolist() == [0.0, 2.0, 3.0, 4.0, 0.0]


@pytest.mark.parametrize("part", VARIANTS, ids=str)
def test_penalties_are_scalars_and_sums_get_eight_bits(part):
    assert torch.as_tensor(part.build().penalty()).shape == ()
    assert part.for_sums() == dataclasses.replace(part, bits=8)
    assert part.build().bits == part.bits and part.for_sums().build().bits == 8


def test_no_quantizer():
    assert NoActivationQuantizer().build() is None
    assert NoActivationQuantizer().for_sums() == NoActivationQuantizer()


@given(low=st.floats(-1e4, 0, width=32), high=st.floats(0, 1e4, width=32), bits=st.sampled_from([2, 4, 8]))
def test_a_grid_reaches_its_ends_within_half_a_step(low, high, bits):
    scale, zero, _ = grid_between(torch.tensor([low, high]), bits)
    assert float(scale) > 0
    if high - low > 1e-30:
        assert abs(float(-zero * scale) - low) <= 0.501 * float(scale)
        assert abs(float((2**bits - 1 - zero) * scale) - high) <= 0.501 * float(scale)


def test_moving_ranges_have_the_closed_form():
    momentum, batches = 0.9, [torch.tensor([-float(i), 2.0 * i]) for i in range(1, 6)]
    module = MovingRange(momentum=momentum).build()
    module.begin()
    for batch in batches:
        module.observe(batch)
    count = len(batches)
    shares = np.array([(1 - momentum) * momentum ** (count - 1 - i) for i in range(count)])
    shares /= 1 - momentum**count
    expected = [-(shares * np.arange(1, 6)).sum(), 2 * (shares * np.arange(1, 6)).sum()]
    np.testing.assert_allclose(module.range.numpy(), expected, rtol=1e-5)
    module.quantizing = True
    module.train()(torch.tensor([-100.0, 50.0]))  # in training it moves on, by 1 - momentum
    expected = [momentum * expected[0] - 10.0, momentum * expected[1] + 5.0]
    np.testing.assert_allclose(module.range.numpy(), expected, rtol=1e-5)


def test_a_range_is_widened_to_hold_zero():
    module = MovingRange().build()
    module.begin()
    module.observe(torch.tensor([3.0, 7.0]))
    assert module.range.tolist() == [0.0, 7.0]
    module.begin()
    module.observe(torch.tensor([-3.0, -7.0]))
    assert module.range.tolist() == [-7.0, 0.0]


def test_clips_have_the_gradients_of_pact():
    """Equations 2 and 3 of the paper, at the boundaries too."""
    module = LearnedClip(4, initial=2.0).build()
    module.begin()
    module.observe(torch.tensor([0.0, 1.0]))
    assert module.range.tolist() == [0.0, 2.0]
    module.quantizing = True
    below_alpha = float(np.nextafter(np.float32(2.0), np.float32(0.0)))
    x = torch.tensor([0.0, 0.7, below_alpha, 2.0, 3.0], requires_grad=True)
    y = module(x)
    step = 2.0 / 15
    np.testing.assert_allclose(y.detach(), [0.0, 5 * step, 2.0, 2.0, 2.0], rtol=1e-6)
    y.backward(torch.tensor([1.0, 10.0, 100.0, 1000.0, 10000.0]))
    assert x.grad.tolist() == [1.0, 10.0, 100.0, 0.0, 0.0]
    assert module.range.grad.tolist() == [0.0, 11000.0]
    assert float(module.penalty()) == pytest.approx(2e-4 * 4.0)


def test_the_lower_clip_is_learned_where_inputs_are_negative():
    module = LearnedClip(4).build()
    module.begin()
    module.observe(torch.tensor([-2.0, 4.0]))
    module.observe(torch.tensor([-4.0, 2.0]))
    assert module.range.tolist() == [-3.0, 3.0]
    module.quantizing = True
    module(torch.tensor([-5.0, -1.0, 1.0, 5.0])).backward(torch.tensor([1.0, 10.0, 100.0, 1000.0]))
    assert module.range.grad.tolist() == [1.0, 1000.0]


def test_a_clip_that_was_driven_to_zero_comes_back():
    module = LearnedClip(4).build()
    module.quantizing = True
    with torch.no_grad():
        module.range.copy_(torch.tensor([0.0, -1.0]))
    y = module(torch.tensor([1.0, 2.0]))
    assert bool((y < 2e-3).all())
    (-y.sum()).backward()
    assert module.range.grad.tolist() == [0.0, -2.0]  # descent raises it


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda: MovingRange(1), "bits=1"),
        (lambda: MovingRange(9), "bits=9"),
        (lambda: MovingRange(8, momentum=1.0), "momentum=1.0"),
        (lambda: LearnedClip(1), "bits=1"),
        (lambda: LearnedClip(initial=0.0), "initial=0.0"),
        (lambda: LearnedClip(decay=-1.0), "decay=-1.0"),
    ],
)
def test_impossible_settings_are_refused(wrong, text):
    with pytest.raises(ValueError, match=text):
        wrong()
