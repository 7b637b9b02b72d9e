"""Whether channels can be taken out of a network: tried out on a copy."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from trainables.calling import Inputs, call
from trainables.slicing.removal import Removal, remove, silence

TOLERANCE = 1e-3
"""Of the difference of outputs, relative to their size: of float32 through hundreds of layers."""


def tensors_in(output: Any) -> list[Tensor]:
    """The tensors in a network's output."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, dict):
        output = tuple(output.values())
    if isinstance(output, (tuple, list)):
        return [tensor for item in output for tensor in tensors_in(item)]
    return []


@torch.no_grad()
def fault(network: nn.Module, removal: Removal, inputs: Inputs, *, same: bool = True) -> str | None:
    """Why channels cannot be taken out of ``network``, which stays as it is; None where they can.

    Without the channels, it must compute what it computes where nobody reads them. Normalisation over
    channels, in which each channel counts, is left out of both, and what is constant, such as a last scale
    of zero, is drawn: it would hide a fault.

    Args:
        network: in eval mode.
        removal: what goes.
        inputs: of a few samples.
        same: whether the computed values are compared, not their shapes alone.
    """
    whole = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(0)
    for parameter in whole.parameters() if same else ():
        if (
            parameter.numel() > 1
            and parameter.is_floating_point()
            and bool(parameter.min() == parameter.max())
        ):
            drawn = torch.rand(parameter.shape, generator=generator) + 0.5
            parameter.data = drawn.to(parameter)
    small = copy.deepcopy(whole)
    try:
        remove(small, removal)
        silence(whole, removal)
        for each in (whole, small) if same else ():
            _leave_out_normalisation(each)
        wanted, found = (tensors_in(call(each, inputs)) for each in (whole, small))
    except Exception as error:  # a foreign forward may raise anything, and none of it is to be cut then
        return f"{type(error).__name__}: {error}".splitlines()[0]
    if [tensor.shape for tensor in wanted] != [tensor.shape for tensor in found]:
        return "the output has another shape then"
    for one, other in zip(wanted, found, strict=True):
        size = one.double().abs().max().clamp(min=1e-12)
        if same and not bool((one.double() - other.double()).abs().max() <= TOLERANCE * size):
            return "the output depends on channels that nothing seems to read"
    return None


def _leave_out_normalisation(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.MultiheadAttention):
            module.register_forward_hook(_only_query, with_kwargs=True)
        elif isinstance(module, _BatchNorm) or any(True for _ in module.children()):
            continue
        elif "norm" in type(module).__name__.lower():
            module.register_forward_hook(_unchanged)


def _only_query(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
    return (args[0] if args else kwargs["query"], *output[1:])


def _unchanged(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
    same = (
        args and isinstance(args[0], Tensor) and isinstance(output, Tensor) and args[0].shape == output.shape
    )
    return args[0] if same else output
