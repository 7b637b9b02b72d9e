"""How many large images a training step takes."""

from __future__ import annotations

import pytest
import torch

from search.planning.activations import activation_bytes
from studies.known import find_study
from trainables.image_sizes import fitting_batch_size, halvings


@pytest.mark.parametrize("side", [48, 64, 65, 96, 128, 160, 224, 320, 512])
def test_activations_of_the_teacher_of_ones_own_images_take_about_300_mb(side: int) -> None:
    network = find_study("image_folder").teacher.model.build((3, side, side), 10)
    found = activation_bytes(network, torch.rand(2, 3, side, side)) / 2 * fitting_batch_size(side, side)
    assert 0.5 * 300e6 < found < 1.1 * 300e6


def test_small_images_come_128_at_a_time_and_the_largest_8() -> None:
    assert [fitting_batch_size(side, side) for side in (4, 8, 28, 32, 1024)] == [128, 128, 128, 128, 8]
    assert fitting_batch_size(256, 4) == 128 and halvings(256, 4) == 2


def test_activations_are_what_autograd_keeps_and_no_weights() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(100, 50, bias=False), torch.nn.Tanh())
    inputs = torch.rand(8, 100)
    assert activation_bytes(network, inputs) == 4 * 8 * (100 + 50)
    assert network.eval() and activation_bytes(network, inputs) and not network.training
