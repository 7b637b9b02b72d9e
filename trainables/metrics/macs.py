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


def macs_by_module(model: nn.Module, interface: Interface) -> dict[str, int]:
    """What :func:`macs` counts, by the name of the module that does it, without what modules inside it do.

    Names are those of ``model.named_modules()``, with ``""`` for the model itself; they add up to the whole.

    Args:
        model: as for :func:`macs`.
        interface: how it is used.
    """
    copied = copy.deepcopy(model).cpu().eval()
    own = dict.fromkeys((name for name, _ in copied.named_modules()), 0)
    open_since: list[tuple[int, int]] = []  # of each module that runs: the count at its begin, and its parts'
    with counting() as counted, torch.no_grad():

        def begin(*_: object) -> None:
            open_since.append((counted(), 0))

        def end(name: str) -> None:
            start, parts = open_since.pop()
            whole = counted() - start
            own[name] += whole - parts
            if open_since:
                before, further = open_since.pop()
                open_since.append((before, further + whole))

        for name, module in copied.named_modules():
            module.register_forward_pre_hook(begin, prepend=True)
            module.register_forward_hook(lambda *_, name=name: end(name))
        interface.use(copied)
        own[""] += counted() - sum(own.values())  # what is done outside of any call of a module
    return own


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
