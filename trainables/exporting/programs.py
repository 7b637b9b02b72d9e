"""Networks as PyTorch's own programs (``torch.export``), from which other formats are made."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from trainables.activations.base import Grid
from trainables.compression.quantized_inputs import input_quantizers
from trainables.interfaces.base import Graph
from trainables.modes import without_fused_attention

# Brings the operators `quantized_decomposed`, which other formats know as quantization.
from torch.ao.quantization.fx import _decomposed as _decomposed  # isort: skip

QUANTIZE = torch.ops.quantized_decomposed.quantize_per_tensor.default
DEQUANTIZE = torch.ops.quantized_decomposed.dequantize_per_tensor.default
QUANTIZE_CHANNELS = torch.ops.quantized_decomposed.quantize_per_channel.default
DEQUANTIZE_CHANNELS = torch.ops.quantized_decomposed.dequantize_per_channel.default


class ExactLevels(nn.Module):
    """Values on a grid by plain arithmetic, as in the student."""

    scale: Tensor
    zero: Tensor

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.top = 2**grid.bits - 1
        self.register_buffer("scale", grid.scale.clone())
        self.register_buffer("zero", grid.zero.clone())

    def forward(self, x: Tensor, **moving: bool) -> Tensor:  # ranges do not move any more
        level = (torch.round(x / self.scale) + self.zero).clamp(0, self.top)
        return (level - self.zero) * self.scale


class SignedLevels(nn.Module):
    """Values on a grid as a pair of operators that runtimes take for 8-bit integers.

    Its unsigned levels less 128 are the same grid in int8. Of fewer bits, values are clipped before.
    """

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.scale = float(grid.scale)
        self.zero = int(grid.zero) - 128
        top = 2**grid.bits - 1
        self.ends = None if grid.bits == 8 else [self.scale * (end - int(grid.zero)) for end in (0, top)]

    def forward(self, x: Tensor, **moving: bool) -> Tensor:  # ranges do not move any more
        if self.ends is not None:
            x = torch.nn.functional.hardtanh(x, min_val=self.ends[0], max_val=self.ends[1])
        how = (self.scale, self.zero, -128, 127, torch.int8)
        found: Tensor = DEQUANTIZE(QUANTIZE(x, *how), *how)
        return found


class _Untouched(nn.Module):
    def forward(self, x: Tensor, **moving: bool) -> Tensor:  # ranges do not move any more
        return x


def with_levels(network: nn.Module, form: Callable[[Grid], nn.Module]) -> nn.Module:
    """A copy whose input quantizers are ``form`` of their grids."""
    copied = copy.deepcopy(network).cpu().float().eval().requires_grad_(False)
    for name, quantizer in list(input_quantizers(copied)):
        parent, _, child = name.rpartition(".")
        made = form(quantizer.grid()) if quantizer.quantizing else _Untouched()
        setattr(copied.get_submodule(parent), child, made)
    return copied


def traced(graph: Graph, *, free: bool) -> ExportedProgram:
    """``graph`` as a program of PyTorch's operators.

    Args:
        graph: of a network of :func:`with_levels`.
        free: whether the axes that the graph calls free are; otherwise the batch is one input.

    Raises:
        Exception: a network that cannot be traced; PyTorch's errors share no public base.
    """
    axes = [{axis: Dim(name) for axis, name in free_axes.items()} for free_axes in graph.inputs.values()]
    # By the names of arguments, of which one may take several of the inputs.
    named = dict(inspect.signature(graph.module.forward).bind(*axes).arguments)
    inputs = graph.draw(2 if free else 1)
    with warnings.catch_warnings(), without_fused_attention(), torch.no_grad():
        warnings.simplefilter("ignore")
        return torch.export.export(graph.module, inputs, dynamic_shapes=named if free else None)
