"""The convolutional family."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from trainables.models import convnet
from trainables.models.convnet import ConvNet

PUBLISHED = {
    "PAPER_TEACHER": 5_346_142,
    "PAPER_STUDENT_1": 1_000_235,
    "PAPER_STUDENT_2": 318_415,
    "PAPER_STUDENT_3": 111_935,
    "PAPER_DEEPER_STUDENT": 5_825_396,
}
CHANNELS = {
    "PAPER_TEACHER": [76, 76, 126, 126, 148, 148, 148, 148],
    "PAPER_STUDENT_1": [75, 50, 50, 25],
    "PAPER_STUDENT_2": [50, 25, 25, 10],
    "PAPER_STUDENT_3": [25, 10, 10, 5],
    "PAPER_DEEPER_STUDENT": [76] * 3 + [126] * 3 + [148] * 5,
}


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def convolutions(network: nn.Module) -> list[int]:
    return [module.out_channels for module in network.modules() if isinstance(module, nn.Conv2d)]


@pytest.mark.parametrize("name", PUBLISHED)
def test_paper_networks_have_the_published_layers_and_size_less_the_cancelled_biases(name: str) -> None:
    config = getattr(convnet, name)
    network = config.build((3, 32, 32), 10)
    assert convolutions(network) == CHANNELS[name]
    assert sum(isinstance(module, nn.MaxPool2d) for module in network.modules()) == len(config.stages)
    hidden = [module.out_features for module in network.modules() if isinstance(module, nn.Linear)][:-1]
    assert hidden == list(config.hidden)
    assert parameters(network) == PUBLISHED[name] - sum(CHANNELS[name]) - sum(hidden)


def test_normalised_layers_have_no_bias_and_nothing_follows_the_logits() -> None:
    modules = [m for m in convnet.PAPER_TEACHER.build((3, 32, 32), 10).modules() if not list(m.children())]
    for layer, after in itertools.pairwise(modules):
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            assert layer.bias is None and isinstance(after, (nn.BatchNorm1d, nn.BatchNorm2d))
        if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d)):
            assert isinstance(after, nn.ReLU)
    assert isinstance(modules[-1], nn.Linear) and modules[-1].bias is not None
    assert [m.p for m in modules if isinstance(m, (nn.Dropout, nn.Dropout2d))] == [0.2, 0.3, 0.35, 0.4, 0.4]


@pytest.mark.parametrize(
    ("depth", "expected"),
    [
        (1, [8, 8]),
        (2, [8, 8, 4]),
        (3, [8, 6, 8, 4, 2]),
        (4, [8, 6, 8, 4, 2, 2]),
        (6, [8, 6, 6, 8, 4, 2, 2, 2, 2]),
    ],
)
def test_depth_takes_channels_in_proportion_and_repeats_the_last(depth: int, expected: list[int]) -> None:
    network = ConvNet(depth=depth, stages=((8, 6), (8, 4, 2, 2)), hidden=()).build((1, 8, 8), 3)
    assert convolutions(network) == expected


@pytest.mark.parametrize(
    ("width", "expected"), [(0.1, [1, 1, 1, 1]), (0.5, [4, 3, 4, 2]), (2.0, [16, 12, 16, 8])]
)
def test_width_scales_channels_and_hidden_units(width: float, expected: list[int]) -> None:
    network = ConvNet(width=width, stages=((8, 6), (8, 4)), hidden=(20,), kernel_size=3).build((1, 8, 8), 3)
    assert convolutions(network) == expected
    assert [m.out_features for m in network.modules() if isinstance(m, nn.Linear)] == [round(20 * width), 3]


@pytest.mark.parametrize("side", [4, 6, 7, 8, 9, 16, 28, 32])
def test_no_pool_makes_a_map_smaller_than_two_by_two(side: int) -> None:
    network = ConvNet(stages=((4,), (4,), (4,), (4,)), hidden=(), kernel_size=3).build((2, side, side + 3), 5)
    assert network.eval()(torch.zeros(3, 2, side, side + 3)).shape == (3, 5)
    maps: list[torch.Size] = []
    for module in network.modules():
        if isinstance(module, nn.MaxPool2d):
            module.register_forward_hook(lambda _module, _inputs, output: maps.append(output.shape))
    network(torch.zeros(1, 2, side, side + 3))
    expected: list[int] = []
    size = side
    while size >= 4 and len(expected) < 4:
        size //= 2
        expected.append(size)
    assert [shape[2] for shape in maps] == expected


def test_ranges() -> None:
    for fields, message in (
        ({"depth": 0}, "depth=0"),
        ({"width": 0.01}, "width=0.01"),
        ({"width": 17.0}, "width=17.0"),
        ({"kernel_size": 4}, "kernel_size=4"),
        ({"stages": ()}, "stages="),
        ({"stages": ((),)}, "stages="),
        ({"stages": ((0,),)}, "stages="),
        ({"hidden": (10**9,)}, "hidden="),
        ({"dropout": (0.1,)}, "3 rates"),
        ({"dropout": (0.1, 0.1, 1.0)}, "dropout="),
    ):
        with pytest.raises(ValueError, match=message):
            ConvNet(**fields)
    with pytest.raises(ValueError, match=r"input_shape=\(8, 8\)"):
        ConvNet().build((8, 8), 10)
