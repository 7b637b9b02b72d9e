"""Networks for 32x32 pixels: a ResNet-18 as torchvision has it, with a quarter of the channels and no pooling
in the stem, and the ResNet-8 of the benchmark MLPerf Tiny (Banbury et al. 2021).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

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


def resnet8(classes: int = 10) -> ResNet:
    """Three stages of one block with 16, 32 and 64 channels; 78 thousand parameters, 12.5 million MACs."""
    network = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=classes)
    network.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
    network.bn1 = nn.BatchNorm2d(16)
    network.maxpool = nn.Identity()
    network.layer1, network.layer2 = nn.Sequential(_block(16, 16, 1)), nn.Sequential(_block(16, 32, 2))
    network.layer3, network.layer4 = nn.Sequential(_block(32, 64, 2)), nn.Sequential()
    network.fc = nn.Linear(64, classes)
    return network


NETWORKS: Mapping[str, Callable[[], ResNet]] = {"resnet18": resnet, "resnet8": resnet8}


def _block(channels: int, width: int, stride: int) -> BasicBlock:
    shortcut = None
    if stride != 1 or channels != width:
        shortcut = nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))
    return BasicBlock(channels, width, stride, shortcut)
