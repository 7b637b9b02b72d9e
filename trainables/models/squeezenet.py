"""SqueezeNet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from trainables.models.mobile import DeviceNetwork, convolution, rounded, shortened, strides
from trainables.models.shapes import image_shape
from trainables.ranges import Range

STAGES = ((16, 16), (32, 32), (48, 48, 64, 64))
"""Channels of the squeezing convolutions; each expanding one has four times as many."""


@dataclass(frozen=True)
class SqueezeNet(DeviceNetwork):
    """Fire modules: a 1x1 convolution squeezes the channels, 1x1 and 3x3 ones expand them.

    Iandola et al. 2016, in the authors' version 1.1, of 2.4 times fewer operations than the paper's. As
    published it has no batch normalisation; it differs in putting no ReLU on the logits, where it is a
    defect. Width rounds channels to multiples of 8.

    Attributes:
        depth: modules of the longest stage, in [1, 16]; default 4, the published network. The other stages
            keep their proportion to it, and at least one module.
        width: multiplier of the channels; in [1/16, 16], default 1.
        dropout: rate before the logits, in [0, 1); default 0.5, as published.
    """

    depth: Annotated[int, Range(1, 16, (1, 4), smaller="low", name="depth")] = 4
    width: float = 1.0
    dropout: Annotated[float, Range(0.0, 1.0, excluded="high")] = 0.5

    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """See :meth:`Model.build`; He et al.'s (2015) normal initialisation for convolutions (fan out)."""
        first, *pools = strides(4, input_shape)
        channels = rounded(64 * self.width)
        layers: list[nn.Module] = [
            convolution(image_shape(input_shape)[0], channels, 3, stride=first, bias=True),
            nn.ReLU(inplace=True),
        ]
        for stage, pool in zip(shortened(STAGES, self.depth), pools, strict=True):
            if pool > 1:
                layers.append(nn.MaxPool2d(3, stride=pool, ceil_mode=True))
            for size in stage:
                layers.append(_Fire(channels, rounded(size * self.width), rounded(4 * size * self.width)))
                channels = 2 * rounded(4 * size * self.width)
        answer = nn.Conv2d(channels, outputs, 1)
        nn.init.normal_(answer.weight, 0, 0.01)
        assert answer.bias is not None
        nn.init.zeros_(answer.bias)
        head = (nn.Dropout(self.dropout), answer, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return nn.Sequential(nn.Sequential(*layers), *head)


class _Fire(nn.Module):
    def __init__(self, channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Sequential(convolution(channels, squeezed, bias=True), nn.ReLU(inplace=True))
        self.near = nn.Sequential(convolution(squeezed, expanded, bias=True), nn.ReLU(inplace=True))
        self.around = nn.Sequential(convolution(squeezed, expanded, 3, bias=True), nn.ReLU(inplace=True))

    def forward(self, inputs: Tensor) -> Tensor:
        squeezed = self.squeeze(inputs)
        return torch.cat([self.near(squeezed), self.around(squeezed)], 1)
