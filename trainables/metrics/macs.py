"""Multiply-accumulate operations."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def macs(model: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Multiply-accumulates of ``model`` in eval mode for one input of ``input_shape``.

    Convolutions, matrix products and attention count, half a floating point operation of PyTorch's
    counter each; biases, normalisation, activations and pooling do not. Weights that are zero count.
    Shapes alone are propagated (the meta device), where fused recurrent and attention kernels fall
    apart into the products that are counted. A model that makes tensors on a device of its own cannot
    be run so; it is run on the CPU, where fused recurrent layers go uncounted.
    """
    try:
        return _count(model, input_shape, torch.device("meta"))
    except (RuntimeError, NotImplementedError):
        return _count(model, input_shape, torch.device("cpu"))


def _count(model: nn.Module, input_shape: tuple[int, ...], device: torch.device) -> int:
    copied = copy.deepcopy(model).to(device).eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        copied(torch.zeros(1, *input_shape, device=device))
    return int(counter.get_total_flops()) // 2
