"""GhostNet: half of the feature maps are made of the others by cheap operations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.models.mobile import (
    DeviceNetwork,
    Last,
    convolution,
    normalised,
    rounded,
    shortened,
    strides,
)
from trainables.models.shapes import image_shape
from trainables.ranges import Range


class Row(NamedTuple):
    """A row of the paper's table: kernel, expanded and output channels, whether it squeezes."""

    kernel: int
    expanded: int
    channels: int
    squeezes: bool


STAGES: tuple[tuple[Row, ...], ...] = (
    (Row(3, 16, 16, False),),
    (Row(3, 48, 24, False), Row(3, 72, 24, False)),
    (Row(5, 72, 40, True), Row(5, 120, 40, True)),
    (
        Row(3, 240, 80, False),
        Row(3, 200, 80, False),
        Row(3, 184, 80, False),
        Row(3, 184, 80, False),
        Row(3, 480, 112, True),
        Row(3, 672, 112, True),
    ),
    (
        Row(5, 672, 160, True),
        Row(5, 960, 160, False),
        Row(5, 960, 160, True),
        Row(5, 960, 160, False),
        Row(5, 960, 160, True),
    ),
)
"""Every stage but the first begins with a stride."""
DIVISOR = 4
"""To whose multiples this family rounds its channels."""


@dataclass(frozen=True)
class GhostNet(DeviceNetwork):
    """Ghost bottlenecks: a 1x1 convolution makes half of the maps, depthwise ones the rest.

    Han et al. 2020, table 1, with squeeze-and-excitation of a quarter of the channels. Width rounds channels
    to multiples of 4, as the authors do, and leaves the layer before the logits as it is.

    Attributes:
        depth: bottlenecks of the longest stage, in [1, 24]; default 6, the published network. The other
            stages keep their proportion to it, and at least one bottleneck.
        width: multiplier of the channels; in [1/16, 16], default 1.
        last: channels before the logits, whatever the width, in [8, 4096]; default 1280, as published.
    """

    depth: Annotated[int, Range(1, 24, (1, 6), smaller="low", name="depth")] = 6
    width: float = 1.0
    last: Last = 1280

    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """See :meth:`Model.build`; He et al.'s (2015) normal initialisation for convolutions (fan out)."""
        first, *steps = strides(5, input_shape)
        channels = rounded(16 * self.width, DIVISOR)
        layers: list[nn.Module] = [normalised(image_shape(input_shape)[0], channels, 3, stride=first)]
        expanded = 0
        for stage, step in zip(shortened(STAGES, self.depth), [1, *steps], strict=True):
            for number, row in enumerate(stage):
                # What begins a stage has a shortcut of its own and may halve the maps.
                expanded = rounded(row.expanded * self.width, DIVISOR)
                size = rounded(row.channels * self.width, DIVISOR)
                stride = step if not number and len(layers) > 1 else None
                layers.append(_Bottleneck(channels, expanded, size, row, stride))
                channels = size
        head = [
            normalised(channels, expanded),
            nn.AdaptiveAvgPool2d(1),
            convolution(expanded, self.last, bias=True),
            nn.ReLU(inplace=True),
            nn.Flatten(),
            nn.Linear(self.last, outputs),
        ]
        return nn.Sequential(nn.Sequential(*layers), *head)


class _Ghost(nn.Module):
    def __init__(self, channels: int, outputs: int, active: bool) -> None:
        super().__init__()
        half = outputs // 2
        self.primary = normalised(channels, half, active=active)
        self.cheap = normalised(half, outputs - half, 3, groups=half, active=active)

    def forward(self, inputs: Tensor) -> Tensor:
        made = self.primary(inputs)
        return torch.cat([made, self.cheap(made)], 1)


class _Squeeze(nn.Module):
    """Channels weighed by what all of them are on average."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = rounded(channels / 4, DIVISOR)
        self.reduce = convolution(channels, inner, bias=True)
        self.expand = convolution(inner, channels, bias=True)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs * F.hardsigmoid(self.expand(F.relu(self.reduce(self.pool(inputs)))))


class _Bottleneck(nn.Module):
    """Two ghost modules; ``stride`` is None where none is between them, whatever its number."""

    def __init__(self, channels: int, expanded: int, outputs: int, row: Row, stride: int | None) -> None:
        super().__init__()
        layers: list[nn.Module] = [_Ghost(channels, expanded, True)]
        if stride is not None:
            layers.append(
                normalised(expanded, expanded, row.kernel, stride=stride, groups=expanded, active=False)
            )
        if row.squeezes:
            layers.append(_Squeeze(expanded))
        layers.append(_Ghost(expanded, outputs, False))
        self.residual = nn.Sequential(*layers)
        self.shortcut: nn.Module = nn.Identity()
        if stride is not None or channels != outputs:
            self.shortcut = nn.Sequential(
                normalised(channels, channels, row.kernel, stride=stride or 1, groups=channels, active=False),
                normalised(channels, outputs, active=False),
            )

    def forward(self, inputs: Tensor) -> Tensor:
        made: Tensor = self.residual(inputs) + self.shortcut(inputs)
        return made
