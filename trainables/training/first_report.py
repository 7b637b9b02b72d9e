"""The first report of a slice of a trained network: what it can do before it trains."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from trainables.batch import Batch
from trainables.compression.ahead import factor
from trainables.compression.compressed_weight import CompressedWeight
from trainables.slicing.slicing import calibrate

Compressed = Sequence[tuple[str, CompressedWeight, nn.Parameter]]


@contextmanager
def calibrated_as_shipped(
    network: nn.Module, compressed: Compressed, batches: Callable[[], Iterable[Batch]]
) -> Iterator[None]:
    """Let batch normalisation have the statistics of the weights that would ship, as long as this lasts.

    Those that a slice begins with are of its weights in full precision, all of them. With few bits, or at the
    final sparsity, they are wrong by so much that untrained students of all shapes guess; measured anew over
    about 512 samples of training data, they tell which shapes can do more. Afterwards everything is as it
    was, bit for bit.

    Args:
        network: the student.
        compressed: its compressed weights.
        batches: gives training data, the same at every call.
    """
    norms = [each for each in network.modules() if isinstance(each, _BatchNorm)]
    before = [(buffer, buffer.clone()) for norm in norms for buffer in norm.buffers()]
    if not before:
        yield
        return
    weights = [(each, original, original.detach().clone()) for _, each, original in compressed]
    quantizing = [each.quantizing for each, _, _ in weights]
    try:
        for each, original, _ in weights:
            _ship_in_place(each, original)
            each.quantizing = False  # it is quantized already, at its final sparsity
        calibrate(network, batches)
        _put_back(weights, quantizing)
        yield
    finally:
        _put_back(weights, quantizing)
        for buffer, values in before:
            buffer.copy_(values)


@torch.no_grad()
def _ship_in_place(compressed: CompressedWeight, original: nn.Parameter) -> None:
    """Let ``original`` be what its layer multiplies by once it has shipped."""
    shipped = compressed.encode(original).decode().to(original)
    by = factor(compressed.norm, original) if compressed.quantizer.folds else None
    original.copy_(shipped if by is None else shipped / by)


@torch.no_grad()
def _put_back(
    weights: Iterable[tuple[CompressedWeight, nn.Parameter, torch.Tensor]], quantizing: Iterable[bool]
) -> None:
    for (each, original, values), was in zip(weights, quantizing, strict=True):
        original.copy_(values)
        each.quantizing = was
