"""What the networks made for small devices share: channels in eights, shares of depth, strides, stems."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeVar, cast

from torch import nn

from trainables.models.base import Architecture
from trainables.models.shapes import image_shape
from trainables.ranges import Range

SMALLEST_MAP = 4
"""Pixels a side that strides leave at least, where an image has as many."""

Width = Annotated[float, Range(1 / 16, 16, (0.1, 1.0), log=True, smaller="low", name="width")]
Last = Annotated[int, Range(8, 4096, (128, 1280), log=True, smaller="low")]

Item = TypeVar("Item")


def rounded(channels: float, divisor: int = 8) -> int:
    """The nearest multiple of ``divisor``, at least one, that is no less than 90 % of ``channels``.

    That is how the authors of MobileNet V2 (Sandler et al. 2018) round channels.
    """
    found = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return found + divisor if found < 0.9 * channels else found


def shortened(stages: Sequence[Sequence[Item]], depth: int) -> list[list[Item]]:
    """The stages of a network with ``depth`` blocks in the longest one.

    The others keep their proportion to it, rounded half up, and at least one block. A stage takes the first
    of its blocks, and repeats the last where it needs more.
    """
    longest = max(map(len, stages))
    counts = [max(1, (2 * depth * len(stage) + longest) // (2 * longest)) for stage in stages]
    return [
        [stage[min(number, len(stage) - 1)] for number in range(count)]
        for stage, count in zip(stages, counts, strict=True)
    ]


def strides(places: int, input_shape: tuple[int, ...]) -> list[int]:
    """The strides of the places at which a network halves its maps: 1 at the first ones, then 2.

    Networks for 224 pixels halve them five times, which would leave one pixel of small images: as many of
    the last places halve as leave a side of 4 pixels, so that images of 128 pixels get the published
    network, and those of 32 pixels lose the strides of the stem and of the stage behind it.

    Args:
        places: how many there are.
        input_shape: of an image, (channels, height, width).
    """
    _, height, width = image_shape(input_shape)
    side, halved = min(height, width), 0
    while halved < places and side // 2 ** (halved + 1) >= SMALLEST_MAP:
        halved += 1
    return [1] * (places - halved) + [2] * halved


def convolution(
    channels: int, outputs: int, size: int = 1, *, stride: int = 1, groups: int = 1, bias: bool = False
) -> nn.Conv2d:
    """A convolution padded to keep the size of maps, of He's normal initialisation (fan out)."""
    layer = nn.Conv2d(channels, outputs, size, stride=stride, padding=size // 2, groups=groups, bias=bias)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def normalised(
    channels: int, outputs: int, size: int = 1, *, stride: int = 1, groups: int = 1, active: bool = True
) -> nn.Sequential:
    """A convolution with batch normalisation and, if ``active``, ReLU."""
    layers: list[nn.Module] = [
        convolution(channels, outputs, size, stride=stride, groups=groups),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, nn.ReLU(inplace=True)) if active else nn.Sequential(*layers)


def restem(network: nn.Module, name: str, channels: int, stride: int) -> None:
    """Give a library's network another first convolution: theirs has 3 channels and stride 2.

    Args:
        network: of the library.
        name: of the module whose first layer it is.
        channels: of the images.
        stride: of the convolution.
    """
    first = cast(nn.Sequential, network.get_submodule(name))
    layer = cast(nn.Conv2d, first[0])
    first[0] = convolution(channels, layer.out_channels, int(layer.kernel_size[0]), stride=stride)


class DeviceNetwork(Architecture):
    """An architecture whose first convolution and stages halve the maps, for images of any size.

    Of images below 128 pixels a side the first of these places keep the size, see
    :func:`trainables.models.mobile.strides`. Members declare ``depth`` with its range.

    Attributes:
        width: multiplier of the channels; in [1/16, 16], default 1.
    """

    width: Width
