"""The same network made smaller by hand: Torch-Pruning, fine-tuning, and 8-bit weights by torchao.

    CIFAR_IMAGES=DIR CIFAR_CHECKPOINT=FILE python -m benchmarks.own_front.by_hand [--seconds 1800]

As the guides of both libraries have it: ``BasePruner`` with group magnitudes, the classifier left out,
channels in multiples of 8; then SGD from labels in views of the same kind, for as many epochs as fit the
processor time that a student of the sweep has; then weights in 8 bits per output channel (torchao's
primitives: its quantizer for x86 processors does not take this network with torch 2.13). What is counted
are the bytes of the tensors: weights as int8, scales and all else as float32. torchao has to be installed
(``pip install --no-deps torchao==0.18.0``).
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import time
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import torch.nn.functional as F
import torch_pruning as tp
from torch import nn

from benchmarks.own_front.network import resnet
from benchmarks.own_front.teacher import accuracy, normalised, pixels, shifted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--seconds", type=float, default=1800.0, help="processor time of a student's training"
    )
    parser.add_argument("--ratios", type=float, nargs="+", default=[0.0, 0.55, 0.7])
    options = parser.parse_args()
    splits = pixels(Path(os.environ["CIFAR_IMAGES"]))
    for ratio in options.ratios:
        begun, epochs = time.process_time(), 0
        network = resnet()
        network.load_state_dict(safetensors.torch.load_file(os.environ["CIFAR_CHECKPOINT"]))
        whole = sum(parameter.numel() for parameter in network.parameters()) * 4
        if ratio:
            prune(network, ratio)
            epochs = affordable(network, splits["train"], options.seconds)
            tune(network, splits["train"], epochs)
        size = to_int8(network)
        found = {split: accuracy(network, *splits[split]) for split in ("validation", "test")}
        row = {"ratio": ratio, "bytes": size, "times": whole / size, **found, "epochs": epochs}
        print(json.dumps(row | {"seconds": round(time.process_time() - begun)}), flush=True)


def prune(network: nn.Module, ratio: float) -> None:
    """Take ``ratio`` of the channels out, as Torch-Pruning's README has it."""
    pruner = tp.pruner.BasePruner(
        network,
        torch.randn(1, 3, 32, 32),
        importance=tp.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=ratio,
        ignored_layers=[network.fc],
        round_to=8,
        in_channel_groups={},
        out_channel_groups={},
        num_heads={},
    )
    pruner.step()


def affordable(network: nn.Module, split: Any, seconds: float, steps: int = 20) -> int:
    """How many epochs of :func:`tune` fit ``seconds`` of processor time, at least one; tried on a copy."""
    copied, (images, labels) = copy.deepcopy(network), split
    begun = time.process_time()
    tune(copied, (images[: 128 * steps], labels[: 128 * steps]), 1)
    apiece = (time.process_time() - begun) / steps
    return max(int(seconds / (apiece * -(-len(labels) // 128))), 1)


def tune(network: nn.Module, split: Any, epochs: int) -> None:
    """Fine-tune from labels, with SGD whose rate falls to nothing along a cosine."""
    images, labels = split
    optimizer = torch.optim.SGD(network.parameters(), 0.02, momentum=0.9, weight_decay=5e-4, nesterov=True)
    steps = epochs * -(-len(labels) // 128)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for epoch in range(epochs):
        generator = torch.Generator().manual_seed(1000 + epoch)
        network.train()
        for index in torch.randperm(len(labels), generator=generator).split(128):
            loss = F.cross_entropy(network(shifted(normalised(images[index]), generator)), labels[index])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()


@torch.no_grad()
def to_int8(network: nn.Module) -> int:
    """Round the weights of convolutions and linear layers; returns the bytes of all tensors as stored."""
    from torchao.quantization.quant_primitives import (
        MappingType,
        choose_qparams_affine,
        dequantize_affine,
        quantize_affine,
    )

    size = 0
    rounded = set()
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            weight = module.weight
            block = (1, *weight.shape[1:])
            scale, zero = choose_qparams_affine(weight, MappingType.SYMMETRIC, block, torch.int8)
            levels = quantize_affine(weight, block, scale, zero, torch.int8)
            weight.copy_(dequantize_affine(levels, block, scale, zero, torch.int8, output_dtype=weight.dtype))
            size += levels.nbytes + scale.nbytes
            rounded.add(id(weight))
    rest = [each for each in network.parameters() if id(each) not in rounded]
    statistics = [each for each in network.buffers() if each.is_floating_point()]
    return size + sum(each.nbytes for each in (*rest, *statistics))


if __name__ == "__main__":
    main()
