"""DenseNet with bottlenecks and compression, for small images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import nn

from trainables.image_sizes import halvings
from trainables.models.base import Architecture
from trainables.models.mobile import Width, convolution
from trainables.models.shapes import image_shape
from trainables.ranges import Range
from trainables.torchvision_guard import import_torchvision

BLOCKS = 3
GROWTH = 12


@dataclass(frozen=True)
class DenseNet(Architecture):
    """DenseNet-BC: each layer sees the maps of all before it (Huang et al. 2017, section 4).

    Three blocks between which a 1x1 convolution halves the channels and a pooling the maps. The paper's
    network of L = 100 layers and growth rate k = 12 is ``depth=16``. Blocks are torchvision's; the first
    convolution, 3x3 of 2k channels, is the paper's for CIFAR. Of images above 64 pixels a side the maps are
    halved before the first block, as of :class:`~trainables.models.resnet.ResNet`.

    Attributes:
        depth: layers per block, in [1, 32]; default 16, the published network (6 * depth + 4 layers).
        width: multiplier of the growth rate 12, rounded, at least 1; in [1/16, 16], default 1.
    """

    depth: Annotated[int, Range(1, 32, (2, 16), smaller="low", name="depth")] = 16
    width: Width = 1.0

    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """See :meth:`Model.build`; weights start as torchvision's do."""
        channels, height, width = image_shape(input_shape)
        growth, halved = max(1, round(self.width * GROWTH)), halvings(height, width)
        network: nn.Module = import_torchvision().models.DenseNet(
            growth, (self.depth,) * BLOCKS, 2 * growth, num_classes=outputs
        )
        features = network.features
        assert isinstance(features, nn.Sequential)
        features.conv0 = convolution(channels, 2 * growth, 3, stride=2 if halved else 1)
        # The paper's network for small images begins its first block with the bare convolution.
        features.norm0, features.relu0 = nn.Identity(), nn.Identity()
        features.pool0 = nn.Sequential(*(nn.MaxPool2d(3, stride=2, padding=1) for _ in range(halved - 1)))
        return network
