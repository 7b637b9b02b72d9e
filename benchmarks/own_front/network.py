"""A ResNet-18 as torchvision has it, for 32x32 pixels: no pooling in the stem, a quarter of the channels."""

from __future__ import annotations

from torch import nn

from trainables.torchvision_guard import make_importable

make_importable()  # also beside a CPU-only torch
from torchvision.models.resnet import BasicBlock, ResNet  # noqa: E402


def resnet(classes: int = 10, base: int = 16) -> ResNet:
    """Four stages of two blocks with ``base`` to ``8 * base`` channels; 0.70 million parameters at 16."""
    network = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=classes)
    network.conv1 = nn.Conv2d(3, base, 3, padding=1, bias=False)
    network.bn1 = nn.BatchNorm2d(base)
    network.maxpool = nn.Identity()
    channels = base
    for stage, name in enumerate(("layer1", "layer2", "layer3", "layer4")):
        width, stride = base * 2**stage, 1 if stage == 0 else 2
        setattr(network, name, nn.Sequential(_block(channels, width, stride), _block(width, width, 1)))
        channels = width
    network.fc = nn.Linear(channels, classes)
    return network


def _block(channels: int, width: int, stride: int) -> BasicBlock:
    shortcut = None
    if stride != 1 or channels != width:
        shortcut = nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))
    return BasicBlock(channels, width, stride, shortcut)
