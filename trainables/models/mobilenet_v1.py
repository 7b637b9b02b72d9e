"""MobileNet, the first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import nn

from trainables.models.mobile import DeviceNetwork, normalised, rounded, shortened, strides
from trainables.models.shapes import image_shape
from trainables.ranges import Range

STAGES = ((64,), (128, 128), (256, 256), (512,) * 6, (1024, 1024))
"""Channels of the blocks; every stage but the first begins with a stride."""


@dataclass(frozen=True)
class MobileNetV1(DeviceNetwork):
    """Depthwise 3x3 convolutions, each followed by a 1x1 one (Howard et al. 2017, table 1).

    Width rounds channels to multiples of 8, as the authors' published models have them.

    Attributes:
        depth: blocks of the longest stage, of 512 channels, in [1, 24]; default 6, the published network. The
            other stages keep their proportion to it, and at least one block.
        width: multiplier of the channels; in [1/16, 16], default 1.
    """

    depth: Annotated[int, Range(1, 24, (1, 6), smaller="low", name="depth")] = 6
    width: float = 1.0

    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """See :meth:`Model.build`; He et al.'s (2015) normal initialisation for convolutions (fan out)."""
        first, *steps = strides(5, input_shape)
        channels = rounded(32 * self.width)
        layers: list[nn.Module] = [normalised(image_shape(input_shape)[0], channels, 3, stride=first)]
        for stage, stride in zip(shortened(STAGES, self.depth), [1, *steps], strict=True):
            for number, size in enumerate(stage):
                size = rounded(size * self.width)
                layers.append(
                    normalised(channels, channels, 3, stride=1 if number else stride, groups=channels)
                )
                layers.append(normalised(channels, size))
                channels = size
        head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, outputs))
        return nn.Sequential(nn.Sequential(*layers), *head)
