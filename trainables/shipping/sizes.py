"""What can be counted in a packed file."""

from __future__ import annotations

import math
from collections.abc import Mapping

from trainables.codecs.base import Stored
from trainables.quantizers.base import removed_elements
from trainables.shipping.packed_file import describe, dropped_elements, unpack

WEIGHT_RANK = 2
"""Tensors of at least this many dimensions are weights; biases and normalisation have one."""


def parameters(tensors: Mapping[str, Stored]) -> int:
    """Elements of all tensors, dropped ones included."""
    return sum(math.prod(tensor.shape) for tensor in tensors.values()) + removed_elements(tensors)


def sparsity(tensors: Mapping[str, Stored]) -> float:
    """Share of the elements of weights (at least two dimensions) that are dropped, in [0, 1].

    Dropped is what a mask drops, rows that are removed, and on a centred grid, which needs no mask, whatever
    has the level zero. On other grids and in full precision, a kept element whose value happens to be zero
    counts as kept. 0 without weights.
    """
    weights = [tensor for tensor in tensors.values() if len(tensor.shape) >= WEIGHT_RANK]
    removed = removed_elements(tensors)
    elements = sum(math.prod(tensor.shape) for tensor in weights) + removed
    return (sum(map(dropped_elements, weights)) + removed) / elements if elements else 0.0


def mean_bits(data: bytes) -> float:
    """Stored bits per element of the weights (at least two dimensions) in a packed file.

    Eight times the bytes of their records, so indices, scales, codebooks, masks and record headers are
    all in it, over their elements, dropped ones included. 0 without weights.

    Raises:
        PackedFileError: ``data`` is no packed file.
    """
    rows = [row for row in describe(data) if row["shape"] is not None and len(row["shape"]) >= WEIGHT_RANK]
    elements = sum(math.prod(row["shape"]) for row in rows) + removed_elements(unpack(data)[1])
    return 8 * sum(row["bytes"] for row in rows) / elements if elements else 0.0
