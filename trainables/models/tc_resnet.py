"""Networks that convolve a spectrogram along time alone: its bands are channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch.nn.functional as F
from torch import Tensor, nn

from trainables.models.base import Architecture
from trainables.models.mobile import Width
from trainables.models.shapes import image_shape
from trainables.ranges import Range

FIRST, STAGES = 16, (24, 32, 48)
CHANNELS = 48


@dataclass(frozen=True)
class TCResNet(Architecture):
    """Residual blocks of convolutions over nine frames (Choi et al. 2019), with bands as channels.

    ``depth=1`` is the paper's TC-ResNet8, ``depth=2`` its TC-ResNet14. As there, the logits have no bias.

    Attributes:
        depth: blocks per stage, in [1, 8]; default 1.
        width: multiplier of the channels 16, 24, 32 and 48, cut off, at least 1; in [1/16, 16], default 1.
        dropout: rate before the logits, in [0, 1); default 0.
    """

    depth: Annotated[int, Range(1, 8, (1, 2), smaller="low", name="depth")] = 1
    width: Width = 1.0
    dropout: Annotated[float, Range(0.0, 1.0, excluded="high")] = 0.0

    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """See :meth:`Model.build`; He et al.'s (2015) normal initialisation for convolutions (fan out)."""
        size = self._scaled(FIRST)
        first = over_time(image_shape(input_shape)[1], size, 3)
        layers: list[nn.Module] = [BandsAsChannels(), first, nn.BatchNorm2d(size), nn.ReLU(inplace=True)]
        for stage in STAGES:
            for block in range(self.depth):
                outer = self._scaled(stage)
                layers.append(_Block(size, outer, 1 if block else 2))
                size = outer
        dropout = (nn.Dropout(self.dropout),) if self.dropout else ()
        head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), *dropout, nn.Linear(size, outputs, bias=False))
        return nn.Sequential(nn.Sequential(*layers), *head)

    def _scaled(self, size: int) -> int:
        return max(1, int(self.width * size))


@dataclass(frozen=True)
class TimeCNN(Architecture):
    """Plain convolutions over five frames, each of which halves their number, with bands as channels.

    Attributes:
        depth: convolutions, in [1, 8]; default 3.
        width: multiplier of the 48 channels, rounded, at least 1; in [1/16, 16], default 1.
    """

    depth: Annotated[int, Range(1, 8, (1, 4), smaller="low", name="depth")] = 3
    width: Width = 1.0

    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """See :meth:`Model.build`; He et al.'s (2015) normal initialisation for convolutions (fan out)."""
        channels, size = image_shape(input_shape)[1], max(1, round(self.width * CHANNELS))
        layers: list[nn.Module] = [BandsAsChannels()]
        for _ in range(self.depth):
            layers += [over_time(channels, size, 5, 2), nn.BatchNorm2d(size), nn.ReLU(inplace=True)]
            channels = size
        head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(size, outputs))
        return nn.Sequential(nn.Sequential(*layers), *head)


class BandsAsChannels(nn.Module):
    """(n, 1, bands, frames) as (n, bands, 1, frames)."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.transpose(1, 2)


def over_time(channels: int, outputs: int, frames: int, stride: int = 1) -> nn.Conv2d:
    """A convolution over so many frames without a bias; in two dimensions, as all exports know it."""
    layer = nn.Conv2d(
        channels, outputs, (1, frames), stride=(1, stride), padding=(0, frames // 2), bias=False
    )
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return layer


class _Block(nn.Module):
    def __init__(self, channels: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            over_time(channels, outputs, 9, stride),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            over_time(outputs, outputs, 9),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or channels != outputs:
            self.shortcut = nn.Sequential(
                over_time(channels, outputs, 1, stride), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
            )

    def forward(self, inputs: Tensor) -> Tensor:
        return F.relu(self.residual(inputs) + self.shortcut(inputs))
