"""MobileNet, the third: found by search, with squeeze-and-excitation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, NamedTuple

from torch import nn

from trainables.models.mobile import DeviceNetwork, restem, rounded, shortened, strides
from trainables.models.shapes import image_shape
from trainables.part import check_choice
from trainables.ranges import Range
from trainables.torchvision_guard import import_torchvision


class Block(NamedTuple):
    """A row of the paper's tables: kernel, expansion of the input's channels, output channels, and what of
    squeeze-and-excitation and hard-swish it has."""

    kernel: int
    expansion: float
    channels: int
    squeezes: bool
    hard_swish: bool


LARGE: tuple[tuple[Block, ...], ...] = (
    (Block(3, 1, 16, False, False),),
    (Block(3, 4, 24, False, False), Block(3, 3, 24, False, False)),
    (Block(5, 3, 40, True, False),) * 3,
    (
        Block(3, 6, 80, False, True),
        Block(3, 2.5, 80, False, True),
        Block(3, 2.3, 80, False, True),
        Block(3, 2.3, 80, False, True),
    ),
    (Block(3, 6, 112, True, True),) * 2,
    (Block(5, 6, 160, True, True),) * 3,
)
SMALL: tuple[tuple[Block, ...], ...] = (
    (Block(3, 1, 16, True, False),),
    (Block(3, 4.5, 24, False, False), Block(3, 3.67, 24, False, False)),
    (Block(5, 4, 40, True, True), Block(5, 6, 40, True, True), Block(5, 6, 40, True, True)),
    (Block(5, 3, 48, True, True),) * 2,
    (Block(5, 6, 96, True, True),) * 3,
)
KINDS = {"large": (LARGE, (1, 2, 3, 5), 1280), "small": (SMALL, (0, 1, 2, 4), 1024)}
"""Stages of the two networks, those that begin with a stride, and the units before the logits."""


@dataclass(frozen=True)
class MobileNetV3(DeviceNetwork):
    """Inverted residuals with squeeze-and-excitation and hard-swish (Howard et al. 2019, tables 1 and 2).

    Built of torchvision's blocks. Width rounds channels to multiples of 8; below 1 it leaves the layer before
    the logits as it is, as the authors do and torchvision does not.

    Attributes:
        kind: ``small`` (default) or ``large``.
        depth: blocks of the longest stage, in [1, 16]; default 3, which is the published small network; the
            large one has 4. The other stages keep their proportion to it, and at least one block.
        width: multiplier of the channels; in [1/16, 16], default 1.
        last: units before the logits up to a width of 1, in [8, 4096]; None (default) are the published 1024
            of the small network and 1280 of the large one.
    """

    kind: str = "small"
    depth: Annotated[int, Range(1, 16, (1, 4), smaller="low", name="depth")] = 3
    width: float = 1.0
    last: Annotated[int | None, Range(8, 4096, (128, 1024), log=True, smaller="low")] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "kind", KINDS)

    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """See :meth:`Model.build`; weights start as torchvision's do."""
        library = import_torchvision().models.mobilenetv3
        stages, strided, units = KINDS[self.kind]
        first, *steps = strides(5, input_shape)
        by_stage = dict(zip(strided, steps, strict=True))
        # The authors do not make the first convolution narrower below 3/4.
        channels, rows = rounded(16 * self.width) if self.width >= 0.75 else 16, []
        for number, stage in enumerate(shortened(stages, self.depth)):
            for place, row in enumerate(stage):
                stride = 1 if place else by_stage.get(number, 1)
                inner, size = rounded(row.expansion * channels), rounded(row.channels * self.width)
                kind = "HS" if row.hard_swish else "RE"
                rows.append(
                    library.InvertedResidualConfig(
                        channels, row.kernel, inner, size, row.squeezes, kind, stride, 1, 1.0
                    )
                )
                channels = size
        last = rounded((units if self.last is None else self.last) * max(1.0, self.width))
        network: nn.Module = library.MobileNetV3(rows, last, num_classes=outputs)
        restem(network, "features.0", image_shape(input_shape)[0], first)
        return network


MOBILENET_V3_LARGE = MobileNetV3(kind="large", depth=4)
"""The published large network."""
