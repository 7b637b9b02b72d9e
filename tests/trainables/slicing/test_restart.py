"""A slice trained from nothing begins with fresh weights of its shape."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.trainables.slicing.networks import SMALL, Tied, Waves, batches_of, loss, made, waves
from trainables.slicing.cut import Cut
from trainables.slicing.restart import restart
from trainables.slicing.slicing import sliced


def test_the_seed_decides_and_pytorchs_own_generator_stays():
    small, _ = sliced(made(Waves), batches_of(waves()), loss, Cut(0.5))
    before = torch.get_rng_state()
    states = []
    for seed in (1, 1, 2):
        restart(small, seed)
        states.append({name: tensor.clone() for name, tensor in small.state_dict().items()})
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["first.weight"], states[2]["first.weight"])
    assert states[0]["first.weight"].shape == (16, 1, 9)
    assert bool((small.norm1.running_mean == 0).all())


def test_weights_are_as_at_the_start():
    network = made(Waves)
    nn.init.constant_(network.dense.weight, 7.0)
    restart(network, 0)
    assert network.dense.weight.abs().max() <= 1 / 96**0.5


def test_tied_and_frozen_weights_stay_so():
    network = made(Tied)
    network.hidden.requires_grad_(False)
    restart(network, 0)
    assert network.head.weight is network.embedding.weight
    assert not network.hidden.weight.requires_grad


def test_attention_is_drawn_too():
    network = made(lambda: nn.MultiheadAttention(8, 2))
    before = network.in_proj_weight.clone()
    restart(network, 5)
    assert not torch.equal(before, network.in_proj_weight)


def test_a_parameter_of_its_own_is_refused_by_name():
    network = made(SMALL["text, fused"][0])
    before = network.head.weight.clone()
    with pytest.raises(ValueError, match="positions cannot be drawn anew"):
        restart(network, 0)
    assert torch.equal(before, network.head.weight)


def test_a_parameter_that_is_one_number_stays():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.full((4,), 0.5))
            self.layer = nn.Linear(4, 4)

    network = made(Scaled)
    restart(network, 0)
    assert bool((network.scale == 0.5).all())
