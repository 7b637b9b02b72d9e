"""The residual network."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.models.resnet import ResNet


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("depth", "millions"), [(3, 0.27), (5, 0.46), (7, 0.66), (9, 0.85)])
def test_sizes_are_those_of_table_6(depth: int, millions: float) -> None:
    network = ResNet(depth=depth).build((3, 32, 32), 10)
    assert parameters(network) / 1e6 == pytest.approx(millions, abs=0.006)
    assert sum(isinstance(m, (nn.Conv2d, nn.Linear)) for m in network.modules()) == 6 * depth + 2


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("side", [8, 15, 28, 32])
def test_it_takes_small_images_of_any_channels(channels: int, side: int) -> None:
    network = ResNet(depth=1, width=0.25).build((channels, side, side), 7)
    output = network(torch.randn(2, channels, side, side))
    assert output.shape == (2, 7) and bool(output.isfinite().all())


@pytest.mark.parametrize(
    ("side", "first"), [(64, 64), (65, 33), (96, 48), (128, 64), (129, 33), (224, 56), (512, 64)]
)
def test_the_first_stage_of_large_images_sees_at_most_64_pixels(side: int, first: int) -> None:
    network: Any = ResNet(depth=1, width=0.25).build((3, side, side), 7)
    seen: list[tuple[int, ...]] = []
    block = next(m for m in network.modules() if hasattr(m, "residual"))
    block.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape[2:]))
    assert network(torch.randn(2, 3, side, side)).shape == (2, 7)
    assert seen == [(first, first)]


def test_images_up_to_64_pixels_have_the_network_they_had() -> None:
    small, large = (ResNet(depth=2, width=0.5).build((3, side, side), 10) for side in (32, 64))
    assert str(small) == str(large) and "MaxPool" not in str(small) and "stride=(2, 2)" in str(small)
    assert next(m for m in large.modules() if isinstance(m, nn.Conv2d)).stride == (1, 1)


def test_long_images_keep_a_pixel() -> None:
    network = ResNet(depth=1, width=0.25).build((1, 1024, 4), 3)
    assert bool(network(torch.randn(2, 1, 1024, 4)).isfinite().all())


def test_a_block_without_residual_passes_its_input_zero_padded_and_subsampled() -> None:
    network = ResNet(depth=1, width=0.5).build((1, 8, 8), 3).eval()
    block: Any = next(
        m for m in network.modules() if getattr(m, "stride", None) == 2 and hasattr(m, "residual")
    )
    nn.init.zeros_(block.residual[-2].weight)
    inputs = torch.rand(2, 8, 8, 8)
    expected = torch.cat([inputs[:, :, ::2, ::2], torch.zeros(2, 8, 4, 4)], dim=1)
    assert torch.equal(block(inputs), F.relu(expected))


def test_weights_start_with_he_variance_and_follow_the_global_generator() -> None:
    def weight() -> Tensor:
        torch.manual_seed(3)
        network = ResNet(depth=1, width=2.0).build((3, 32, 32), 10)
        return [m for m in network.modules() if isinstance(m, nn.Conv2d)][-1].weight.detach()

    assert torch.equal(weight(), weight())
    assert float(weight().std()) == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.02)


def test_ranges() -> None:
    for fields in ({"depth": 0}, {"depth": 33}, {"width": 0.0}, {"width": 16.5}):
        with pytest.raises(ValueError, match=next(iter(fields))):
            ResNet(**fields)
    with pytest.raises(ValueError, match="sides of at least 4"):
        ResNet().build((3, 2, 2), 10)
