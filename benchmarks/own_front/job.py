"""The job of the benchmark: the ResNet of :mod:`benchmarks.own_front.teacher`, and its images.

    rayduce sweep benchmarks/own_front/job.py --epochs 12

The environment says where the images and the checkpoint are: CIFAR_IMAGES and CIFAR_CHECKPOINT.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from benchmarks.own_front.network import resnet
from benchmarks.own_front.teacher import normalised, pixels, shifted

weights = os.environ["CIFAR_CHECKPOINT"]
SPLITS = pixels(Path(os.environ["CIFAR_IMAGES"]))
network = resnet


def data(split: str) -> TensorDataset:
    images, labels = SPLITS[split]
    return TensorDataset(normalised(images), labels)


def augment(inputs: Tensor, generator: torch.Generator) -> Tensor:
    return shifted(inputs, generator)
