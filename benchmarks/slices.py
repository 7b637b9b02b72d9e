"""Slices of well-known architectures: what they cost, and how long it takes to cut them.

Untrained weights (the shapes do not depend on them), images of 64 pixels, importance ``l1``; batch
normalisation is calibrated on 512 samples of noise. Multiply-accumulates of one image, as
PyTorch's counter has them. ``left`` is how many layers were left alone because their channels
cannot be followed. Every slice is rebuilt from its shapes into a fresh network, which must give the same
bits.

    OMP_NUM_THREADS=1 python benchmarks/slices.py [--architectures resnet18 ...] [--widths 0.25 0.5 0.75]
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from trainables.batch import Batch
from trainables.slicing.cut import Cut
from trainables.slicing.shapes import reshape
from trainables.slicing.slicing import sliced
from trainables.torchvision_guard import make_importable

ARCHITECTURES = (
    "resnet18",
    "resnet50",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "shufflenet_v2_x0_5",
    "efficientnet_b0",
    "vgg11_bn",
    "densenet121",
    "squeezenet1_1",
    "regnet_y_400mf",
    "convnext_tiny",
    "vit",
)
SIDE = 64


def build(name: str, seed: int) -> nn.Module:
    """The architecture with ten outputs."""
    from torchvision import models

    torch.manual_seed(seed)
    if name == "vit":
        return models.VisionTransformer(SIDE, 8, 6, 4, 128, 256, num_classes=10).eval()
    return models.get_model(name, num_classes=10).eval()


def batches() -> Iterator[Batch]:
    """512 images of noise."""
    generator = torch.Generator().manual_seed(0)
    for number in range(16):
        images = torch.randn(32, 3, SIDE, SIDE, generator=generator)
        yield Batch(images, torch.zeros(32, dtype=torch.int64), torch.arange(32) + 32 * number, 0)


def loss(output: Tensor, batch: Batch) -> Tensor:
    """Cross entropy."""
    return F.cross_entropy(output, batch.targets)


def macs(network: nn.Module) -> int:
    """Of one image."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, SIDE, SIDE))
    return counter.get_total_flops() // 2


def parameters(network: nn.Module) -> int:
    """How many there are."""
    return sum(parameter.numel() for parameter in network.parameters())


def cpu() -> str:
    """The model of the processor."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def measure(name: str, width: float) -> str:
    """One line of the table."""
    network = build(name, 0)
    started = time.perf_counter()
    small, changes = sliced(network, batches, loss, Cut(width=width))
    seconds = time.perf_counter() - started
    rebuilt = reshape(
        build(name, 1), changes, {key: tuple(value.shape) for key, value in small.state_dict().items()}
    )
    rebuilt.load_state_dict(small.state_dict())
    images = next(batches()).inputs[:4]
    with torch.no_grad():
        same = torch.equal(small(images), rebuilt(images))
    before, after = macs(network) / 1e6, macs(small) / 1e6
    return (
        f"{name:<20}{width:>6}{parameters(network):>12}{parameters(small):>12}{before:>10.1f}{after:>10.1f}"
        f"{after / before:>8.3f}{len(changes.left):>6}{seconds:>9.1f}  {'yes' if same else 'NO'}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--architectures", nargs="+", choices=ARCHITECTURES, default=ARCHITECTURES)
    parser.add_argument("--widths", nargs="+", type=float, default=(0.25, 0.5, 0.75))
    arguments = parser.parse_args()
    make_importable()
    versions = ", ".join(f"{each} {version(each)}" for each in ("torch", "torchvision", "torch-pruning"))
    print(f"{cpu()}, {platform.system()}, Python {platform.python_version()}, {versions}")
    print(f"{torch.get_num_threads()} threads, images of {SIDE} pixels\n")
    print(
        f"{'':<20}{'width':>6}{'parameters':>12}{'of slice':>12}{'MMAC':>10}{'of slice':>10}{'ratio':>8}"
        f"{'left':>6}{'seconds':>9}  rebuilt"
    )
    for name in arguments.architectures:
        for width in arguments.widths:
            print(measure(name, width), flush=True)


if __name__ == "__main__":
    main()
