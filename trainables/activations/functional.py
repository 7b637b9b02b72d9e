"""Evenly spaced levels between two ends, as ONNX's QuantizeLinear and DequantizeLinear compute them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trainables.activations.base import Grid

LARGEST_FLOAT16 = 65504.0
SUM_BITS = 8
"""Of what is added: sums keep eight bits, whatever layers read (as PACT leaves them in full precision)."""


def as_stored(ends: Tensor) -> Tensor:
    """``ends`` as the file may hold them: float32 values that float16 has, unless out of its range."""
    with torch.no_grad():
        narrow = ends.half().float()
        return torch.where(ends.abs().amax() > LARGEST_FLOAT16, ends.detach(), narrow)


def grid_between(ends: Tensor, bits: int) -> Grid:
    """The levels from ``ends[0]`` to ``ends[1]``, moved by at most half a step so that zero is one of them.

    Args:
        ends: float32, shape (2,); widened to hold zero. Where both are zero, the step is 1.
        bits: in [2, 8].
    """
    top = 2**bits - 1
    low, high = ends[0].clamp(max=0.0), ends[1].clamp(min=0.0)
    step = (high - low) / top
    scale = torch.where(step > 0, step, torch.ones_like(step))
    return Grid(scale, torch.round(-low / scale).clamp(0, top), bits)


def on_grid(x: Tensor, grid: Grid) -> Tensor:
    """The nearest levels' values (ties to the even level, ends saturate), float32 of ``x``'s shape."""
    level = (x.float() / grid.scale).round_().add_(grid.zero).clamp_(0, 2**grid.bits - 1)
    return level.sub_(grid.zero).mul_(grid.scale)


class _OnGrid(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, ends: Tensor, used: Tensor, grid: Grid) -> Tensor:
        ctx.save_for_backward(x, used)
        return on_grid(x, grid)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        (gradient,) = gradients
        x, used = ctx.saved_tensors
        below, above = x < used[0], x >= used[1]
        ends = None
        if ctx.needs_input_grad[1]:
            ends = torch.stack([(gradient * below).sum(), (gradient * above).sum()])
        return (gradient * ~(below | above)).to(x.dtype), ends, None, None


def clipped_on_grid(x: Tensor, ends: Tensor, used: Tensor, bits: int) -> Tensor:
    """``x`` on the grid between the ends ``used``, with the gradients of PACT (Choi et al. 2018, eq. 3).

    The gradient passes to ``x`` where ``used[0] <= x < used[1]``. Elsewhere it goes to ``ends[0]`` (below) or
    ``ends[1]`` (at or above), each the sum over all elements, if ``ends`` takes gradients.

    Args:
        x: any shape.
        ends: float32, shape (2,), what is learned.
        used: what the forward pass makes of ``ends``, see :func:`as_stored`.
        bits: in [2, 8].
    """
    return _OnGrid.apply(x, ends, used, grid_between(used, bits))
