"""MobileNet, the second: inverted residuals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, cast

from torch import nn

from trainables.models.mobile import DeviceNetwork, Last, convolution, restem, rounded, shortened, strides
from trainables.models.shapes import image_shape
from trainables.ranges import Range
from trainables.torchvision_guard import import_torchvision

STAGES = ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1))
"""Expansion, channels and blocks."""
STRIDED = (1, 2, 3, 5)
"""Stages that begin with a stride."""


@dataclass(frozen=True)
class MobileNetV2(DeviceNetwork):
    """Inverted residuals with linear bottlenecks (Sandler et al. 2018, table 2), as torchvision has them.

    Width rounds channels to multiples of 8; below 1 it leaves the last convolution as it is.

    Attributes:
        depth: blocks of the longest stage, of 64 channels, in [1, 16]; default 4, the published network. The
            other stages keep their proportion to it, and at least one block.
        width: multiplier of the channels; in [1/16, 16], default 1.
        last: channels of the last convolution up to a width of 1, in [8, 4096]; default 1280, as published.
    """

    depth: Annotated[int, Range(1, 16, (1, 4), smaller="low", name="depth")] = 4
    width: float = 1.0
    last: Last = 1280

    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """See :meth:`Model.build`; weights start as torchvision's do."""
        first, *steps = strides(5, input_shape)
        by_stage = dict(zip(STRIDED, steps, strict=True))
        blocks = shortened([(0,) * count for *_, count in STAGES], self.depth)
        setting = [
            [expansion, channels, len(blocks[number]), by_stage.get(number, 1)]
            for number, (expansion, channels, _) in enumerate(STAGES)
        ]
        network: nn.Module = import_torchvision().models.MobileNetV2(
            num_classes=outputs, width_mult=self.width, inverted_residual_setting=setting
        )
        restem(network, "features.0", image_shape(input_shape)[0], first)
        if self.last != 1280:
            self._end(network, outputs)
        return network

    def _end(self, network: nn.Module, outputs: int) -> None:
        """Give the network another last convolution: torchvision has one size for it."""
        *_, final = cast(nn.Sequential, network.features)
        end = cast(nn.Sequential, final)
        channels = cast(nn.Conv2d, end[0]).in_channels
        last = rounded(self.last * max(1.0, self.width))
        end[0], end[1] = convolution(channels, last), nn.BatchNorm2d(last)
        classifier = nn.Linear(last, outputs)
        nn.init.normal_(classifier.weight, 0, 0.01)
        nn.init.zeros_(classifier.bias)
        network.classifier = nn.Sequential(nn.Dropout(0.2), classifier)
