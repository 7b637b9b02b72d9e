"""The convolutional family of the quantized distillation paper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import nn

from trainables.models.base import Architecture
from trainables.models.shapes import image_shape
from trainables.ranges import Range


@dataclass(frozen=True)
class ConvNet(Architecture):
    """Stages of same-padded convolutions, then fully connected layers (Polino et al. 2018, section 5).

    Every convolution and every hidden layer is followed by batch normalisation and ReLU. A 2x2 max-pool
    ends each stage unless its map would become smaller than 2x2, so the family fits 8x8 and 32x32 alike.

    It differs from the published code: normalisation comes before ReLU and not after it, so that it folds
    into the weights; layers that are normalised have no bias, which the normalisation would cancel; and no
    ReLU is put on the logits, where it is a defect. Parameters are therefore the published count less one
    bias per normalised channel.

    Attributes:
        depth: convolutions in the longest stage, in [1, 32]; default 2. A stage of ``stages`` lists its
            channels; it takes the first of them, repeating the last where it needs more. Shorter stages
            keep their proportion to the longest, rounded half up, and at least one convolution.
        width: multiplier of all channels and hidden units, rounded, at least 1; in [1/16, 16], default 1.
        stages: channels of the convolutions, stage by stage, at width 1; default is student 1 of the paper.
        hidden: units of the hidden fully connected layers at width 1; may be empty.
        kernel_size: of the convolutions, odd, in [1, 11]; default 5.
        dropout: rates in [0, 1), after each stage (whole channels) and after each hidden layer (units);
            empty, the default, means none.
    """

    depth: Annotated[int, Range(1, 32, smaller="low", name="depth")] = 2
    width: float = 1.0
    stages: tuple[tuple[int, ...], ...] = ((75, 50), (50, 25))
    hidden: tuple[int, ...] = (500,)
    kernel_size: Annotated[int, Range(1, 11)] = 5
    dropout: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got kernel_size={self.kernel_size}")
        if not 1 <= len(self.stages) <= 8 or not all(1 <= len(stage) <= 32 for stage in self.stages):
            raise ValueError(
                f"stages must be 1 to 8 tuples of 1 to 32 channels each, got stages={self.stages}"
            )
        if len(self.hidden) > 8:
            raise ValueError(f"hidden must hold at most 8 layers, got hidden={self.hidden}")
        for name, sizes in (("stages", sum(self.stages, ())), ("hidden", self.hidden)):
            if not all(1 <= size <= 4096 for size in sizes):
                raise ValueError(f"{name} must hold numbers in [1, 4096], got {name}={getattr(self, name)}")
        layers = len(self.stages) + len(self.hidden)
        if len(self.dropout) not in (0, layers) or not all(0.0 <= rate < 1.0 for rate in self.dropout):
            raise ValueError(
                f"dropout must be empty or {layers} rates in [0, 1), one per stage and hidden layer, "
                f"got dropout={self.dropout}"
            )

    def build(self, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """See :meth:`Model.build`; weights start at PyTorch's defaults, drawn from its global generator."""
        channels, height, width = image_shape(input_shape)
        rates = iter(self.dropout or (0.0,) * (len(self.stages) + len(self.hidden)))
        features: list[nn.Module] = []
        for stage in self.stages:
            for size in self._channels(stage):
                features += _convolution(channels, size, self.kernel_size)
                channels = size
            if min(height, width) >= 4:
                features.append(nn.MaxPool2d(2))
                height, width = height // 2, width // 2
            features += _dropout(nn.Dropout2d, next(rates))
        units = channels * height * width
        classifier: list[nn.Module] = []
        for size in map(self._scaled, self.hidden):
            classifier += [nn.Linear(units, size, bias=False), nn.BatchNorm1d(size), nn.ReLU(inplace=True)]
            classifier += _dropout(nn.Dropout, next(rates))
            units = size
        classifier.append(nn.Linear(units, outputs))
        return nn.Sequential(nn.Sequential(*features), nn.Flatten(), nn.Sequential(*classifier))

    def _channels(self, stage: tuple[int, ...]) -> list[int]:
        longest = max(map(len, self.stages))
        count = max(1, (2 * self.depth * len(stage) + longest) // (2 * longest))
        return [self._scaled(stage[min(i, len(stage) - 1)]) for i in range(count)]

    def _scaled(self, size: int) -> int:
        return max(1, round(self.width * size))


def _convolution(channels: int, outputs: int, kernel_size: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, outputs, kernel_size, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    ]


def _dropout(layer: type[nn.Dropout] | type[nn.Dropout2d], rate: float) -> list[nn.Module]:
    return [layer(rate)] if rate else []


PAPER_TEACHER = ConvNet(
    depth=4,
    stages=((76, 76), (126, 126), (148, 148, 148, 148)),
    hidden=(1200, 1200),
    kernel_size=3,
    dropout=(0.2, 0.3, 0.35, 0.4, 0.4),
)
"""The paper's CIFAR-10 teacher (5.3 million parameters)."""

PAPER_STUDENT_1 = ConvNet(stages=((75, 50), (50, 25)), hidden=(500,))
"""The paper's largest CIFAR-10 student (1.0 million parameters)."""

PAPER_STUDENT_2 = ConvNet(stages=((50, 25), (25, 10)), hidden=(400,))
"""The paper's middle CIFAR-10 student (0.32 million parameters)."""

PAPER_STUDENT_3 = ConvNet(stages=((25, 10), (10, 5)), hidden=(300,))
"""The paper's smallest CIFAR-10 student (0.11 million parameters)."""

PAPER_DEEPER_STUDENT = ConvNet(
    depth=5,
    stages=((76,) * 3, (126,) * 3, (148,) * 5),
    hidden=(1000, 1000, 1000),
    kernel_size=3,
)
"""The paper's CIFAR-10 student that is deeper than its teacher (5.8 million parameters)."""
