"""ONNX forms of operations for which PyTorch's exporter has none that holds for batches of any size."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.onnx import register_custom_op_symbolic, symbolic_helper, unregister_custom_op_symbolic


@contextmanager
def own_forms(opset: int) -> Iterator[None]:
    """Within it, the exporter uses the forms of this module."""
    register_custom_op_symbolic("aten::unflatten", _unflatten, opset)
    try:
        yield
    finally:
        unregister_custom_op_symbolic("aten::unflatten", opset)


def _unflatten(g: Any, x: Any, dim: Any, sizes: Any) -> Any:
    """One axis as several.

    The exporter's own form slices the shape, in which it afterwards takes the size of the batch it was
    traced with for a constant. In this one the first axis is what is left, which ONNX writes as -1, and
    those before ``dim`` are copied, written as 0.
    """
    rank = symbolic_helper._get_tensor_rank(x)
    axis = symbolic_helper._maybe_get_const(dim, "i")
    parts = symbolic_helper._maybe_get_const(sizes, "is")
    if rank is None or not isinstance(axis, int):
        raise ValueError("unflatten is exported of tensors with a known number of axes only")
    axis %= rank
    pieces = [_constant(g, [-1] + [0] * (axis - 1))] if axis else []
    if isinstance(parts, list):
        if axis and -1 in parts:
            whole = symbolic_helper._get_tensor_dim_size(x, axis)
            if whole is None:
                raise ValueError("unflatten with a size of -1 is exported of axes of a known size only")
            parts = [whole // -math.prod(parts) if size == -1 else size for size in parts]
        parts = _constant(g, parts)
    pieces.append(parts)
    if axis < rank - 1:
        pieces.append(g.op("Gather", g.op("Shape", x), _constant(g, list(range(axis + 1, rank)))))
    shape = pieces[0] if len(pieces) == 1 else g.op("Concat", *pieces, axis_i=0)
    return g.op("Reshape", x, shape)


def _constant(g: Any, numbers: list[int]) -> Any:
    return g.op("Constant", value_t=torch.tensor(numbers, dtype=torch.int64))
