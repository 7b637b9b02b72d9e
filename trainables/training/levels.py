"""Learned levels shared out among tensors by their gradients, when quantizing begins."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from trainables.batch import Batch
from trainables.compression.compressed_weight import CompressedWeight, NotFinite
from trainables.modes import evaluating
from trainables.quantizers.sharing import share_levels

GRADIENT_BATCHES = 5
"""By which the published code shares out its points."""


def share_out(
    compressed: Sequence[tuple[str, CompressedWeight, nn.Parameter]],
    network: nn.Module,
    batches: Iterable[Batch],
    loss: Callable[[Batch], Tensor],
) -> None:
    """Share the levels out where quantizers that are about to begin ask for it.

    Args:
        compressed: the weights of ``network``, see :func:`compressed_weights`.
        network: in eval mode meanwhile, so that asking moves nothing.
        batches: of the training split; the first few are looked at.
        loss: the task's own, of a batch.

    Raises:
        NotFinite: a gradient is not.
    """
    sharing = [
        (each, original)
        for _, each, original in compressed
        if not each.quantizing and each.active.shared_levels() is not None
    ]
    if not sharing:
        return
    norms = _gradient_norms([original for _, original in sharing], network, batches, loss)
    if not all(map(math.isfinite, norms)):
        raise NotFinite("a gradient is not finite")
    sizes = [original.numel() for _, original in sharing]
    levels = [each.active.shared_levels() or 0 for each, _ in sharing]
    for (each, _), count in zip(sharing, share_levels(sizes, norms, levels), strict=True):
        each.active.take_levels(count)


def _gradient_norms(
    parameters: list[nn.Parameter],
    network: nn.Module,
    batches: Iterable[Batch],
    loss: Callable[[Batch], Tensor],
) -> list[float]:
    """Norms of the mean gradients of the loss over the first few batches."""
    wanted = [parameter.requires_grad for parameter in parameters]
    for parameter in parameters:
        parameter.requires_grad_(True)
    total, count = [torch.zeros_like(parameter) for parameter in parameters], 0
    with evaluating(network):
        for batch in itertools.islice(batches, GRADIENT_BATCHES):
            with parametrize.cached():
                value = loss(batch)
            for sum_, gradient in zip(total, torch.autograd.grad(value, parameters), strict=True):
                sum_ += gradient
            count += 1
    for parameter, flag in zip(parameters, wanted, strict=True):
        parameter.requires_grad_(flag)
    return [float(gradient.norm()) / count for gradient in total]
