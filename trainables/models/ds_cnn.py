"""DS-CNN, depthwise separable convolutions over a spectrogram."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import nn

from trainables.models.base import Architecture
from trainables.models.mobile import Width, normalised
from trainables.models.shapes import image_shape
from trainables.ranges import Range

CHANNELS = 64


@dataclass(frozen=True)
class DSCNN(Architecture):
    """A convolution of 4 bands by 10 frames, then depthwise separable blocks (Zhang et al. 2018, Hello Edge).

    ``depth=4, width=1`` is the paper's DS-CNN-S. It differs in having no bias beside a normalisation, which
    would cancel it, and in halving the maps once more in the first block, as the paper's larger networks do:
    there are more bands than the paper's ten coefficients.

    Attributes:
        depth: blocks, in [1, 16]; default 4.
        width: multiplier of the 64 channels, rounded, at least 1; in [1/16, 16], default 1.
        dropout: rate before the logits, in [0, 1); default 0.
    """

    depth: Annotated[int, Range(1, 16, (1, 5), smaller="low", name="depth")] = 4
    width: Width = 1.0
    dropout: Annotated[float, Range(0.0, 1.0, excluded="high")] = 0.0

    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """See :meth:`Model.build`; He et al.'s (2015) normal initialisation for convolutions (fan out)."""
        channels, size = image_shape(input_shape)[0], max(1, round(self.width * CHANNELS))
        first = nn.Conv2d(channels, size, (4, 10), stride=2, padding=(2, 5), bias=False)
        nn.init.kaiming_normal_(first.weight, mode="fan_out", nonlinearity="relu")
        layers: list[nn.Module] = [first, nn.BatchNorm2d(size), nn.ReLU(inplace=True)]
        for block in range(self.depth):
            layers.append(normalised(size, size, 3, stride=1 if block else 2, groups=size))
            layers.append(normalised(size, size))
        dropout = (nn.Dropout(self.dropout),) if self.dropout else ()
        head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), *dropout, nn.Linear(size, outputs))
        return nn.Sequential(nn.Sequential(*layers), *head)


DS_CNN_S = DSCNN()
"""The paper's smallest network, 23,180 parameters with 12 classes."""
