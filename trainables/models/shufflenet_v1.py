"""ShuffleNet, the first: grouped 1x1 convolutions, and channels shuffled between them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.models.mobile import DeviceNetwork, normalised, rounded, shortened, strides
from trainables.models.shapes import image_shape
from trainables.ranges import Range

GROUPS = 3
STAGES = (240, 480, 960)
BLOCKS = (4, 8, 4)


@dataclass(frozen=True)
class ShuffleNetV1(DeviceNetwork):
    """Units of grouped 1x1 and depthwise 3x3 convolutions (Zhang et al. 2018, table 1), of three groups.

    Width rounds channels to multiples of 12, which every published width is, so that they can be grouped;
    the stem has 24 channels from a width of 1 on, 48 from 2 on, 12 from 1/2 on and so forth. The logits
    have no bias, as in the authors' code.

    Attributes:
        depth: units of the longest stage, in [1, 24]; default 8, the published network. The other stages
            keep their proportion to it, and at least one unit.
        width: multiplier of the channels; in [1/16, 16], default 1.
    """

    depth: Annotated[int, Range(1, 24, (1, 8), smaller="low", name="depth")] = 8
    width: float = 1.0

    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """See :meth:`Model.build`; He et al.'s (2015) normal initialisation for convolutions (fan out)."""
        first, pooled, *steps = strides(5, input_shape)
        channels = rounded(24 * 2.0 ** math.floor(math.log2(self.width)), GROUPS)
        layers: list[nn.Module] = [normalised(image_shape(input_shape)[0], channels, 3, stride=first)]
        if pooled > 1:
            layers.append(nn.MaxPool2d(3, stride=pooled, padding=1))
        for blocks, size, step in zip(
            shortened([(0,) * count for count in BLOCKS], self.depth), STAGES, steps, strict=True
        ):
            size = rounded(size * self.width, 4 * GROUPS)
            for number in range(len(blocks)):
                groups = GROUPS if len(layers) > 2 or number else 1  # the first has few channels to share out
                layers.append(_Unit(channels, size, None if number else step, groups))
                channels = size
        head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, outputs, bias=False))
        return nn.Sequential(nn.Sequential(*layers), *head)


class _Unit(nn.Module):
    """A shuffle unit; with a stride it puts its input, pooled, beside what it computes, else it adds it."""

    def __init__(self, channels: int, outputs: int, stride: int | None, groups: int) -> None:
        super().__init__()
        inner = outputs // 4
        self.joins = stride is not None
        stride = stride or 1
        self.reduce = normalised(channels, inner, groups=groups)
        self.depthwise = normalised(inner, inner, 3, stride=stride, groups=inner, active=False)
        made = outputs - channels if self.joins else outputs
        self.expand = normalised(inner, made, groups=GROUPS, active=False)
        self.shortcut = nn.AvgPool2d(3, stride=stride, padding=1) if self.joins else nn.Identity()

    def forward(self, inputs: Tensor) -> Tensor:
        residual = self.expand(self.depthwise(shuffled(self.reduce(inputs), GROUPS)))
        shortcut = self.shortcut(inputs)
        return F.relu(torch.cat([shortcut, residual], 1) if self.joins else shortcut + residual)


def shuffled(inputs: Tensor, groups: int) -> Tensor:
    """Channels (n, groups * m, height, width) as if they had been listed group by group the other way."""
    count, channels, height, width = inputs.shape
    grouped = inputs.view(count, groups, channels // groups, height, width)
    return grouped.transpose(1, 2).reshape(count, channels, height, width)
