"""The wide residual network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor, nn

from trainables.image_sizes import halvings
from trainables.models.base import Architecture
from trainables.models.mobile import Width, convolution
from trainables.models.shapes import image_shape
from trainables.ranges import Range

STAGES = (16, 32, 64)


@dataclass(frozen=True)
class WideResNet(Architecture):
    """Residual blocks that normalise before they convolve (Zagoruyko & Komodakis 2016, table 1).

    WRN-16-4 of the paper is ``depth=2, width=4``. Of images above 64 pixels a side the maps are halved
    before the first stage, as of :class:`~trainables.models.resnet.ResNet`.

    Attributes:
        depth: blocks per stage, in [1, 16]; default 2, which is WRN-16 (6 * depth + 4 layers).
        width: multiplier of the channels 16, 32 and 64 of the blocks, rounded, at least 1; the first
            convolution has 16 channels at any width. In [1/16, 16], default 1.
        dropout: rate between a block's two convolutions, in [0, 1); default 0.
    """

    depth: Annotated[int, Range(1, 16, (1, 3), smaller="low", name="depth")] = 2
    width: Width = 1.0
    dropout: Annotated[float, Range(0.0, 1.0, excluded="high")] = 0.0

    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """See :meth:`Model.build`; He et al.'s (2015) normal initialisation for convolutions (fan out)."""
        channels, height, width = image_shape(input_shape)
        halved, previous = halvings(height, width), STAGES[0]
        layers: list[nn.Module] = [
            convolution(channels, previous, 3, stride=2 if halved else 1),
            *(nn.MaxPool2d(3, stride=2, padding=1) for _ in range(halved - 1)),
        ]
        for stage, size in enumerate(STAGES):
            size = max(1, round(self.width * size))
            for block in range(self.depth):
                layers.append(_Block(previous, size, 2 if stage and not block else 1, self.dropout))
                previous = size
        layers += [nn.BatchNorm2d(previous), nn.ReLU(inplace=True)]
        head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(previous, outputs))
        return nn.Sequential(nn.Sequential(*layers), *head)


class _Block(nn.Module):
    """The shortcut of a block that changes the shape is a 1x1 convolution of the normalised input."""

    def __init__(self, channels: int, outputs: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.begin = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=False))
        layers: list[nn.Module] = [
            convolution(channels, outputs, 3, stride=stride),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        ]
        if dropout:
            layers.append(nn.Dropout(dropout))
        self.residual = nn.Sequential(*layers, convolution(outputs, outputs, 3))
        self.shortcut = (
            convolution(channels, outputs, stride=stride) if stride > 1 or channels != outputs else None
        )

    def forward(self, inputs: Tensor) -> Tensor:
        begun = self.begin(inputs)
        made: Tensor = self.residual(begun)
        return made + (inputs if self.shortcut is None else self.shortcut(begun))
