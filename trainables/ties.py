"""Tensors that a network has under several names: tied weights, and modules that are used in two places."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn


def aliases(network: nn.Module) -> dict[str, str]:
    """The names in the state dict of ``network`` whose tensor has an earlier name, and that name.

    One parameter under two names, or in a module under two names, is one tensor: it is stored, counted,
    masked and quantized once, under the first name.
    """
    first: dict[int, str] = {}
    found = {}
    for name, tensor in network.state_dict(keep_vars=True).items():
        known = first.setdefault(id(tensor), name)
        if known != name:
            found[name] = known
    return found


def named_tensors(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Every parameter and buffer once, buffers that are not stored included."""
    yield from network.named_parameters()
    yield from network.named_buffers()
