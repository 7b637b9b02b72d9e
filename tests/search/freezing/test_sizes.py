"""Sizes before training: against what quantizers and coding really make, and against recorded students."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.grids import DIGITS, OWN_NETWORK
from benchmarks.recorded_table import load_table
from benchmarks.searches import Recorded
from search.sampling.freezing.candidates import Candidate
from search.sampling.freezing.courses import Course, Report
from search.sampling.freezing.entropy import CODED, coded, mask_bits
from search.sampling.freezing.outline import Tensor, _count, _tensors, outline_of
from search.sampling.freezing.regression import Smooth
from search.sampling.freezing.sizes import Column, Cost, Size
from trainables import methods
from trainables.models import ConvNet, MobileNetV2, WideResNet
from trainables.origins import Fresh, Slice
from trainables.quantizers import LearnedStep, Symmetric, Uniform
from trainables.slicing.cut import Cut
from trainables.tasks import Digits


def measured(quantizer, kept, per_row):
    """Entropy of the levels of normal weights, the smallest of them pruned, as the quantizer makes them."""
    weight = torch.randn(64, per_row, generator=torch.Generator().manual_seed(0))
    keep = weight.abs() >= weight.abs().flatten().quantile(1 - kept)
    weight = weight * keep
    of = quantizer.build(weight)
    if hasattr(of, "initialize"):
        of.initialize(weight)
    if of.exact_zero:  # pruned weights are zeros among the levels
        codes, masked = of.encode(weight, tuple(weight.shape), None), 0.0
        index = codes.index.reshape(-1)
    else:
        codes = of.encode(weight[keep], (int(keep.sum()),), None)
        index, masked = codes.index.reshape(-1), mask_bits(kept)
    shares = torch.bincount(index.long()).double() / index.numel()
    shares = shares[shares > 0]
    entropy = float(-(shares * shares.log2()).sum())
    return entropy if of.exact_zero else kept * entropy + masked


@pytest.mark.parametrize("kept", [1.0, 0.5, 0.15])
@pytest.mark.parametrize(
    "quantizer",
    [
        Uniform(3, 64),
        Uniform(4, 512),
        Uniform(7, 256),
        Symmetric(4),
        Symmetric(6),
        LearnedStep(2),
        LearnedStep(6),
    ],
    ids=str,
)
def test_bits_are_those_of_a_normal_distribution_on_the_levels(quantizer, kept):
    per_row = 288
    found = coded(quantizer, kept, per_row, 64 * per_row).bits / CODED
    near = 0.06 if kept == 1 else 0.12  # ends of a bucket are not equally far from its middle
    assert found == pytest.approx(measured(quantizer, kept, per_row), rel=near, abs=0.03)


@pytest.fixture(scope="module")
def table():
    return load_table(DIGITS.path)


@pytest.fixture(scope="module")
def grid(table):
    return Recorded(table, DIGITS)


def test_recorded_students_are_told_to_a_tenth_of_a_doubling(table, grid):
    """Those of the other learning rate than the ones that told what is beside entropies (see outline.py)."""
    chosen = [row for row, point in enumerate(table.points) if point["learning_rate"] > 2e-3][::11]
    told = np.array([outline_of(grid.recipe(row)).log2_bytes for row in chosen])
    errors = told - np.log2(table.packed_bytes[chosen, -1])
    assert math.sqrt((errors**2).mean()) < 0.08
    assert abs(errors.mean()) < 0.04


def course(candidate, epoch, log2_bytes, state="running"):
    found = Course(0, candidate, state)
    found.reports.append(Report(0, 0.1, (log2_bytes[0],), (), 1.0))
    if epoch:
        found.reports.append(Report(epoch, 0.5, (log2_bytes[1],), (), 2.0))
    return found


@pytest.fixture(scope="module")
def candidate(grid):
    recipe = grid.recipe(100)
    return Candidate(recipe, {}, {}, outline_of(recipe))


def test_recorded_slices_are_told_by_what_the_cut_leaves():
    """Of a user's own network, before any trial; one method that learns its bits is told worse."""
    table = load_table(OWN_NETWORK.path)
    recipes = Recorded(table, OWN_NETWORK)
    learns = "pseudo_quantization_noise"
    rows = [row for row, point in enumerate(table.points) if point["method"] != learns]
    told = np.array([outline_of(recipes.recipe(row)).log2_bytes for row in rows])
    errors = told - np.log2([table.packed_bytes[row, table.epochs[row]] for row in rows])
    widths = np.array([table.points[row]["width"] for row in rows])
    assert np.sqrt((errors**2).mean()) < 0.2
    for width in OWN_NETWORK.axes["width"]:
        assert abs(errors[widths == width].mean()) < 0.25


@pytest.mark.parametrize(
    "cut", [Cut(1.0), Cut(0.5), Cut(0.25, first=2.0, last=0.5), Cut(0.3, last=3.0)], ids=str
)
def test_a_cut_is_counted_about_as_it_is_made(cut):
    torch.manual_seed(0)
    task = Digits()
    for model in (ConvNet(depth=2, width=0.5), MobileNetV2(depth=1, width=0.5), WideResNet(depth=1)):
        recipe = methods.full_precision(methods.Setting(task, Slice(Fresh(model), cut, restart=True), 2))
        loaded = task.open(task.load(None), torch.device("cpu"), 0)
        small = recipe.origin.outline(task, loaded)[1]
        made = sum(parameter.numel() for parameter in small.parameters())
        count = _count(_tensors(model, task.input_shape, task.outputs), (), cut)
        assert math.log2((count.weights + count.others) / made) == pytest.approx(0, abs=0.4)


def test_a_number_by_itself_is_counted():
    tensors = (Tensor("scale", (), True), Tensor("a.weight", (8, 4), True), Tensor("b.weight", (2, 8), True))
    count = _count(tensors, (), Cut(0.5, round_to=1))
    assert (count.weights, count.others, count.shapes) == (4 * 4 + 2 * 4, 1, ((4, 4), (2, 4)))


def test_a_size_goes_from_what_was_shown_to_what_is_expected(candidate):
    size, here = Size(Column(0)), np.zeros((1, 3))
    rule, epochs = candidate.outline.log2_bytes, candidate.epochs
    assert size.told(here, [candidate.outline], [None]).values == pytest.approx(rule)
    shown = [rule + 0.4, rule + 0.3]
    half, done = course(candidate, epochs // 2, shown), course(candidate, epochs, shown, "finished")
    told = size.told(
        np.zeros((3, 3)), [candidate.outline] * 3, [course(candidate, 0, shown), half, done]
    ).values
    assert told == pytest.approx([rule, rule + 0.3 - 0.5 * 0.4, rule + 0.3])


def test_those_that_ended_correct_most(candidate):
    rule, errors = candidate.outline.log2_bytes, {}
    for epoch, state in ((0, "stopped"), (candidate.epochs, "finished")):
        size, inputs = Size(Column(0)), np.zeros((1, 3))
        size.learn([course(candidate, epoch, [rule - 0.2, rule - 0.2], state)], inputs)
        far = np.full((1, 3), 3.0)
        errors[state] = [size.told(at, [candidate.outline], [None]).values[0] - rule for at in (inputs, far)]
    assert errors["finished"] == pytest.approx(
        [-0.2, -0.2], abs=0.01
    )  # with one, that is how far all are off
    size = Size(Column(0))
    pair = [
        course(candidate, 0, [rule - 0.2, 0], "stopped"),
        course(candidate, candidate.epochs, [rule, rule], "finished"),
    ]
    size.learn(pair, np.zeros((2, 3)))
    assert abs(size.told(np.zeros((1, 3)), [candidate.outline], [None]).values[0] - rule) < 0.04


def test_a_cost_without_a_rule_is_known_when_somebody_told_it(candidate):
    cost = Cost(Column(0))
    assert not cost.known
    cost.learn([course(candidate, candidate.epochs, [10.0, 9.5], "finished")], np.zeros((1, 3)))
    assert cost.known
    assert cost.told(np.zeros((1, 3)), [candidate.outline], [None]).values == pytest.approx([9.5], abs=0.01)
    assert cost.told(np.zeros((1, 3)), [candidate.outline], [course(candidate, 0, [7.0])]).values == (
        pytest.approx([6.5], abs=0.01)
    )


def test_what_is_less_sure_counts_less():
    inputs, values = np.zeros((2, 2)), np.array([0.0, 1.0])
    alike = Smooth(inputs, values, 0.01)
    unsure = Smooth(inputs, values, 0.01, np.array([0.0, 1.0]))
    assert alike.at(inputs[:1]) == pytest.approx(0.5)
    assert unsure.at(inputs[:1])[0] < 0.1


def test_masks_and_weights_in_full_precision(grid):
    assert mask_bits(1.0) == 0.0 and mask_bits(0.5) == 1.0
    plain = next(r for r in (grid.recipe(k) for k in range(50)) if not r.quantizes)
    count = 2 ** outline_of(plain).log2_weights
    assert 2 ** outline_of(plain).log2_bytes > 4 * count
    assert outline_of(replace(plain, seed=5)) == outline_of(plain)
