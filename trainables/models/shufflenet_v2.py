"""ShuffleNet, the second: channels are split, not grouped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from torch import nn

from trainables.models.mobile import DeviceNetwork, restem, rounded, shortened, strides
from trainables.models.shapes import image_shape
from trainables.ranges import Range
from trainables.torchvision_guard import import_torchvision

BLOCKS = (4, 8, 4)
WIDTHS = (0.0, 0.5, 1.0, 1.5, 2.0)
CHANNELS = (0, 48, 116, 176, 244)
"""Of the first stage at the published widths; the next stages have twice and four times as many."""


@dataclass(frozen=True)
class ShuffleNetV2(DeviceNetwork):
    """Half of the channels pass, the others are convolved, then both are shuffled (Ma et al. 2018, table 5).

    Built by torchvision. Channels are the published ones at widths of 0.5, 1, 1.5 and 2; between them they
    are interpolated and rounded to multiples of 4, beyond 2 they grow in proportion.

    Attributes:
        depth: units of the longest stage, in [1, 24]; default 8, the published network. The other stages
            keep their proportion to it, and at least one unit.
        width: multiplier of the channels; in [1/16, 16], default 1.
        last: channels of the last convolution below a width of 2, from which on it has twice as many; in
            [8, 4096], default 1024, as published.
    """

    depth: Annotated[int, Range(1, 24, (1, 8), smaller="low", name="depth")] = 8
    width: float = 1.0
    last: Annotated[int, Range(8, 4096, (128, 1024), log=True, smaller="low")] = 1024

    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """See :meth:`Model.build`; weights start as torchvision's do."""
        beyond = max(1.0, self.width / WIDTHS[-1])
        channels = rounded(float(np.interp(self.width, WIDTHS, CHANNELS)) * beyond, 4)
        last = self.last * (2 if self.width >= 2 else 1)
        stages = shortened([(0,) * count for count in BLOCKS], self.depth)
        network: nn.Module = import_torchvision().models.ShuffleNetV2(
            [len(stage) for stage in stages],
            [24, channels, 2 * channels, 4 * channels, last],
            num_classes=outputs,
        )
        first, pooled, *steps = strides(5, input_shape)
        restem(network, "conv1", image_shape(input_shape)[0], first)
        if pooled == 1:
            network.maxpool = nn.Identity()
        for name, step in zip(("stage2", "stage3", "stage4"), steps, strict=True):
            for layer in network.get_submodule(f"{name}.0").modules():
                if isinstance(layer, nn.Conv2d) and layer.stride != (1, 1):
                    layer.stride = (step, step)
        return network
