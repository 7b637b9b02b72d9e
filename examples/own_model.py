"""Your own network in Rayduce: a small depthwise-separable one (MobileNet's layer, Howard et al. 2017).

Rayduce asks four things of a class:

1. it is a ``torch.nn.Module``;
2. it is made as ``Class(input_shape=..., outputs=..., depth=..., width=...)``;
3. it takes a batch of inputs of ``input_shape`` and returns one row of ``outputs`` logits per input;
4. ``depth`` and ``width`` scale it, since the sweep turns both.

Compression needs nothing from it: weights of two or more dimensions are pruned and quantized wherever they
are. Run from the folder above ``examples``:

    rayduce sweep digits --model examples.own_model:SeparableNet

Run by itself, it prints how large it is:

    python examples/own_model.py
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SeparableNet(nn.Module):
    """A convolution, three stages of separable blocks that halve the map, average pooling, logits.

    Args:
        input_shape: (channels, height, width) of one image, sides of at least 8 pixels.
        outputs: number of logits.
        depth: separable blocks per stage, at least 1.
        width: multiplier of the stages' channels 24, 48 and 96.
    """

    def __init__(self, input_shape: tuple[int, ...], outputs: int, depth: int, width: float) -> None:
        super().__init__()
        if len(input_shape) != 3 or min(input_shape[1:]) < 8:
            raise ValueError(f"input_shape must be an image of at least 8x8 pixels, got {input_shape=}")
        channels = [max(4, round(width * base)) for base in (24, 48, 96)]
        layers = [normalised(nn.Conv2d(input_shape[0], channels[0], 3, padding=1, bias=False))]
        previous = channels[0]
        for stage, size in enumerate(channels):
            for block in range(depth):
                layers.append(separable(previous, size, stride=2 if stage and not block else 1))
                previous = size
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(previous, outputs)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.features(images).mean(dim=(2, 3)))


def separable(channels: int, outputs: int, stride: int) -> nn.Sequential:
    """One 3x3 filter per channel, then a 1x1 convolution that mixes the channels."""
    depthwise = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, groups=channels, bias=False)
    pointwise = nn.Conv2d(channels, outputs, 1, bias=False)
    return nn.Sequential(normalised(depthwise), normalised(pointwise))


def normalised(convolution: nn.Conv2d) -> nn.Sequential:
    """Batch normalisation right behind a convolution without bias folds away in the packed file."""
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU(inplace=True))


if __name__ == "__main__":
    network = SeparableNet(input_shape=(1, 8, 8), outputs=10, depth=1, width=1.0)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    logits = network(torch.zeros(2, 1, 8, 8))
    kilobytes = 4 * parameters / 1000
    print(f"{parameters} parameters ({kilobytes:.1f} kB in fp32), logits of shape {tuple(logits.shape)}")
