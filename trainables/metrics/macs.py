"""Multiply-accumulate operations."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from trainables.interfaces.base import Interface
from trainables.modes import without_fused_attention


def macs(model: nn.Module, interface: Interface) -> int:
    """Multiply-accumulates of ``model`` in eval mode for one use of it, see :meth:`Interface.use`.

    Convolutions, matrix products, recurrent cells and attention count, half a floating point operation of
    PyTorch's counter each; biases, normalisation, activations and pooling do not. Weights that are zero
    count. The model runs on the CPU, where it is small work: a student's single input.
    """
    copied = copy.deepcopy(model).cpu().eval()
    with counting() as counted, torch.no_grad():
        interface.use(copied)
    return counted()


@contextmanager
def counting() -> Iterator[Callable[[], int]]:
    """Within it, multiply-accumulates are counted; gives a function that says how many there were so far."""
    counter = FlopCounterMode(display=False)
    with counter, _taken_apart():
        yield lambda: int(counter.get_total_flops()) // 2


@contextmanager
def _taken_apart() -> Iterator[None]:
    """Without fused recurrent and attention kernels, which the counter knows only in part.

    In their place run the products that they are made of.
    """
    with warnings.catch_warnings(), without_fused_attention():
        # PyTorch warns of a kind of GPU whenever these flags are touched.
        warnings.filterwarnings("ignore", message="TF32 acceleration on top of oneDNN")
        with torch.backends.mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH):
            yield
