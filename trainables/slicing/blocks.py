"""Residual blocks that a network can do without."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from trainables.batch import Batch
from trainables.calling import call
from trainables.slicing.choice import GRADIENT_BATCHES

CONTAINERS = (nn.Sequential, nn.ModuleList)


@torch.no_grad()
def block_importance(network: nn.Module, batches: Iterable[Batch]) -> dict[str, float]:
    """How much each droppable block changes what it is given: the mean of ``|f(x) - x| / |x|``.

    A block is droppable if it is called once with one tensor, gives one tensor of the same shape, has
    parameters, and the same container (``nn.Sequential`` or ``nn.ModuleList``) has another of its class. What
    lies within a droppable block is none.

    Args:
        network: in eval mode.
        batches: of which the first 8 are looked at.

    Returns:
        by name, in the order of the modules.
    """
    candidates = _candidates(network)
    calls: Counter[str] = Counter()
    changes: dict[str, list[float]] = {name: [] for name in candidates}

    def see(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        calls[name] += 1
        one = len(args) == 1 and not kwargs and isinstance(args[0], Tensor) and isinstance(output, Tensor)
        if not one or args[0].shape != output.shape or not output.is_floating_point():
            changes.pop(name, None)
        elif name in changes:
            before = args[0].double()
            changes[name].append(float((output.double() - before).norm() / before.norm().clamp(min=1e-30)))

    hooks = [
        module.register_forward_hook(
            lambda _, args, kwargs, output, name=name: see(name, args, kwargs, output), with_kwargs=True
        )
        for name, module in candidates.items()
    ]
    seen = 0
    for batch in islice(batches, GRADIENT_BATCHES):
        call(network, batch.inputs)
        seen += 1
    for hook in hooks:
        hook.remove()
    found = {n: sum(each) / seen for n, each in changes.items() if calls[n] == seen and len(each) == seen}
    return {name: value for name, value in found.items() if not any(name.startswith(f"{n}.") for n in found)}


def _candidates(network: nn.Module) -> dict[str, nn.Module]:
    found: dict[str, nn.Module] = {}
    for name, container in network.named_modules():
        if not isinstance(container, CONTAINERS):
            continue
        classes = Counter(type(child) for child in container)
        for own, child in container.named_children():
            inside = any(True for _ in child.children()) and any(True for _ in child.parameters())
            if classes[type(child)] > 1 and inside and child not in found.values():
                found[f"{name}.{own}" if name else own] = child
    return found
