"""Fresh weights for a network of the same shape."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def restart(network: nn.Module, seed: int) -> None:
    """Give ``network`` the weights it would begin with at its present shape, in place.

    Every module that has ``reset_parameters`` is asked for it. A parameter of a module without it becomes the
    one number that all its elements have, and is refused otherwise: how it began is not known. Tied weights
    stay tied. Frozen weights are drawn, too, and stay frozen.

    Args:
        network: for example a slice, whose shape is then trained from nothing (scratch-E of Liu et al. 2019,
            "Rethinking the Value of Network Pruning").
        seed: of what is drawn; PyTorch's own generator is as before afterwards.

    Raises:
        ValueError: a parameter cannot be drawn, named in the message; the network is then as before.
    """
    owned: set[int] = set()
    modules = [module for module in network.modules() if _reset(module)]
    for module in modules:
        owned.update(id(each) for each in _own(module))
    odd = [
        name
        for name, parameter in network.named_parameters()
        if id(parameter) not in owned and bool((parameter != parameter.flatten()[0]).any())
    ]
    if odd:
        raise ValueError(f"{odd[0]} cannot be drawn anew: its module must have a method reset_parameters")
    devices = sorted({each.device.index or 0 for each in network.parameters() if each.device.type == "cuda"})
    with torch.random.fork_rng(devices), torch.no_grad():
        torch.manual_seed(seed)
        for module in modules:
            reset = _reset(module)
            assert reset is not None  # it is one of those that have it
            reset()


def _reset(module: nn.Module) -> Callable[[], object] | None:
    if isinstance(module, nn.MultiheadAttention):  # its own is private
        return module._reset_parameters
    found = getattr(module, "reset_parameters", None)
    return found if callable(found) else None


def _own(module: nn.Module) -> list[Tensor]:
    if isinstance(module, nn.MultiheadAttention):
        return list(module.parameters())
    return list(module.parameters(recurse=False))
