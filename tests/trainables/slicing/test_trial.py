"""A wrong guess about channels is noticed, even if all shapes fit."""

from __future__ import annotations

import torch
from torch import nn

from tests.trainables.slicing.networks import made
from trainables.slicing.removal import Removal
from trainables.slicing.trial import fault


def network() -> nn.Module:
    return made(lambda: nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)))


X = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))


def test_matching_channels_pass():
    assert fault(network(), Removal({("0", "out"): {1, 4}, ("2", "in"): {1, 4}}), X) is None


def test_channels_that_do_not_match_are_noticed():
    found = fault(network(), Removal({("0", "out"): {1, 4}, ("2", "in"): {1, 5}}), X)
    assert found == "the output depends on channels that nothing seems to read"


def test_a_side_that_was_forgotten_is_noticed():
    assert "shapes cannot be multiplied" in fault(network(), Removal({("0", "out"): {1}}), X)


def test_another_shape_of_the_output_is_noticed():
    assert fault(network(), Removal({("2", "out"): {1}}), X) == "the output has another shape then"


def test_a_layer_that_is_zero_hides_no_fault():
    silent = network()
    nn.init.zeros_(silent[2].weight)
    assert fault(silent, Removal({("0", "out"): {1, 4}, ("2", "in"): {1, 5}}), X) is not None


def test_the_network_stays_as_it_is():
    tried = network()
    before = tried[0].weight.clone()
    fault(tried, Removal({("0", "out"): {1}, ("2", "in"): {1}}), X)
    assert torch.equal(tried[0].weight, before)
