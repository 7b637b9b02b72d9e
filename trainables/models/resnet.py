"""The residual network for small images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn

from trainables.image_sizes import halvings
from trainables.models.base import Architecture
from trainables.models.shapes import image_shape
from trainables.ranges import Range

STAGES = (16, 32, 64)


@dataclass(frozen=True)
class ResNet(Architecture):
    """Three stages of residual blocks of two 3x3 convolutions (He et al. 2016, section 4.2).

    The second and third stage halve the map. Their shortcuts take every second pixel and pad the new
    channels with zeros (the paper's option A, its choice for CIFAR): nothing to store or to quantize.
    Global average pooling makes it fit any size. Of images above 64 pixels a side the first convolution takes
    every second pixel (stride 2), and above 128 max-pools of 3x3 (stride 2) follow it, as in the paper's
    networks for ImageNet (section 4.1), until no side of the first stage's maps exceeds 64.

    Attributes:
        depth: blocks per stage, in [1, 32]; default 3, which is ResNet-20 (6 * depth + 2 layers).
        width: multiplier of the channels 16, 32 and 64, rounded, at least 1; in [1/16, 16], default 1.
    """

    depth: Annotated[int, Range(1, 32, smaller="low", name="depth")] = 3
    width: float = 1.0

    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """See :meth:`Model.build`; He et al.'s (2015) normal initialisation for convolutions (fan out)."""
        channels, height, width = image_shape(input_shape)
        sizes = [max(1, round(self.width * size)) for size in STAGES]
        halved = halvings(height, width)
        layers: list[nn.Module] = [
            _convolution(channels, sizes[0], 2 if halved else 1),
            nn.BatchNorm2d(sizes[0]),
            nn.ReLU(inplace=True),
            *(nn.MaxPool2d(3, stride=2, padding=1) for _ in range(halved - 1)),
        ]
        previous = sizes[0]
        for stage, size in enumerate(sizes):
            for block in range(self.depth):
                layers.append(_Block(previous, size, 2 if stage and not block else 1))
                previous = size
        head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(previous, outputs))
        return nn.Sequential(nn.Sequential(*layers), *head)


class _Block(nn.Module):
    def __init__(self, channels: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.extra = outputs - channels
        self.residual = nn.Sequential(
            _convolution(channels, outputs, stride),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            _convolution(outputs, outputs, 1),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        shortcut = inputs
        if self.stride > 1:
            shortcut = shortcut[:, :, :: self.stride, :: self.stride]
        if self.extra:
            shortcut = F.pad(shortcut, (0, 0, 0, 0, 0, self.extra))
        return F.relu(self.residual(inputs) + shortcut)


def _convolution(channels: int, outputs: int, stride: int) -> nn.Conv2d:
    layer = nn.Conv2d(channels, outputs, 3, stride=stride, padding=1, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer
