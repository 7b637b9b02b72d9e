"""The job of the benchmark: the ResNet of :mod:`benchmarks.own_front.teacher`, and its images.

    rayduce sweep benchmarks/own_front/job.py --epochs 12

The environment says where the images and the checkpoint are: CIFAR_IMAGES and CIFAR_CHECKPOINT. It may name
another network (CIFAR_NETWORK, resnet18 by default) and one in how many images students train on
(CIFAR_EVERY, 1 by default), and how many pixels a side images have (CIFAR_SIDE, 32 by default).
"""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from benchmarks.own_front.network import NETWORKS
from benchmarks.own_front.teacher import normalised, pixels, shifted

weights = os.environ["CIFAR_CHECKPOINT"]
SPLITS = pixels(Path(os.environ["CIFAR_IMAGES"]))
EVERY = int(os.environ.get("CIFAR_EVERY", "1"))
network = NETWORKS[os.environ.get("CIFAR_NETWORK", "resnet18")]


def data(split: str) -> TensorDataset:
    images, labels = SPLITS[split]
    if split == "train":
        images, labels = images[::EVERY], labels[::EVERY]
    return TensorDataset(normalised(images), labels)


def augment(inputs: Tensor, generator: torch.Generator) -> Tensor:
    return shifted(inputs, generator)
