"""What is important: against the loss itself, with each channel a little less there."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tests.trainables.slicing.networks import batches_of, loss, made
from trainables.slicing.choice import atoms, least_important, scores_of
from trainables.slicing.cut import Cut
from trainables.slicing.graph import families


class Residual(nn.Module):
    """Three layers that share their channels, read in two places."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(5, 8), nn.Linear(8, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = torch.tanh(self.first(x))
        return self.head(x + torch.tanh(self.second(x)))


def batches():
    generator = torch.Generator().manual_seed(3)
    found = [next(batches_of(torch.randn(6, 5, generator=generator))()) for _ in range(3)]
    return lambda: iter(found)


@pytest.mark.parametrize("importance", ["taylor", "fisher"])
def test_gradients_agree_with_finite_differences(importance):
    network = made(Residual).double()
    given = [batch._replace(inputs=batch.inputs.double()) for batch in batches()()]
    family = families(network, given[0].inputs)[0][0]
    found = scores_of(network, given, loss, importance).of(family, atoms(family))
    step = 1e-4
    for channel in range(8):
        changes = []
        for batch in given:
            losses = []
            for factor in (1 + step, 1 - step):
                changed = copy.deepcopy(network)
                with torch.no_grad():  # all that reads the channel
                    changed.second.weight[:, channel] *= factor
                    changed.head.weight[:, channel] *= factor
                losses.append(loss(changed(batch.inputs), batch).item())
            changes.append((losses[0] - losses[1]) / (2 * step))
        mean = sum(changes) / 3
        wanted = abs(mean) if importance == "taylor" else sum(c * c for c in changes) / 3
        assert found[channel].item() == pytest.approx(wanted, rel=1e-4, abs=1e-12)


def test_magnitudes_are_sums_over_all_that_has_the_channel():
    network = made(Residual)
    family = families(network, torch.randn(2, 5))[0][0]
    found = scores_of(network, [], loss, "l1").of(family, atoms(family))
    sums = [
        network.first.weight.abs().sum(1),
        network.second.weight.abs().sum(1),
        network.second.weight.abs().sum(0),
        network.head.weight.abs().sum(0),
    ]
    wanted = sum(each / each.mean() for each in sums)
    assert torch.allclose(found.float(), wanted, rtol=1e-5)


def test_of_equal_channels_the_first_stay():
    network = made(Residual)
    for parameter in network.parameters():
        nn.init.ones_(parameter)
    family = families(network, torch.randn(2, 5))[0][0]
    scores = scores_of(network, [], loss, "l1")
    assert least_important(network, family, Cut(), 0.5, scores) == [4, 5, 6, 7]


def test_flags_and_gradients_are_as_before():
    network = made(Residual)
    network.first.requires_grad_(False)
    scores_of(network, batches()(), loss, "taylor")
    assert not network.first.weight.requires_grad and network.second.weight.requires_grad
    assert all(parameter.grad is None for parameter in network.parameters())


class Groups(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 24, 1)
        self.grouped = nn.Conv2d(24, 12, 3, padding=1, groups=3)
        self.norm = nn.GroupNorm(2, 12)
        self.head = nn.Conv2d(12, 4, 1)

    def forward(self, x):
        return self.head(F.relu(self.norm(self.grouped(F.relu(self.first(x)))))).mean((2, 3))


def test_each_group_loses_as_many():
    network = made(Groups)
    scores = scores_of(network, [], loss, "l1")
    first, grouped = families(network, torch.randn(2, 3, 8, 8))[0][:2]
    gone = least_important(network, first, Cut(round_to=1), 0.5, scores)
    assert [sum(c // 8 == group for c in gone) for group in range(3)] == [4, 4, 4]
    gone = least_important(network, grouped, Cut(round_to=1), 0.5, scores)
    assert [sum(c // 4 == group for c in gone) for group in range(3)] == [2, 2, 2]
    assert [sum(c // 6 == group for c in gone) for group in range(2)] == [3, 3]
