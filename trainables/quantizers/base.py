"""The quantizer contract, and the two forms a weight tensor takes on its way to a file."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainables.part import Part


@dataclass(frozen=True)
class Codes:
    """A quantized tensor: the hinge between quantizers and codecs. All tensors live on the CPU.

    The ``n`` kept elements, in row-major order, are cut into buckets of ``bucket_size`` consecutive
    values (the last may be shorter); element ``i`` of bucket ``j`` is worth
    ``scale[j] * level(index[i]) + offset[j]``, where ``level(q)`` is ``codebook[q]``, or
    ``q / (2^bits - 1)`` without a codebook. Elements not kept are zero.

    Attributes:
        index: uint8, shape (n,), each below ``2^bits`` (below ``len(codebook)`` with a codebook).
        shape: of the decoded tensor; any rank, empty allowed.
        bits: in [1, 8].
        bucket_size: at least 1, or None for one bucket.
        offset: float16 or float32, shape (ceil(n / bucket_size),).
        scale: the same dtype and shape as ``offset``.
        codebook: float32, shape (2..256,), or None for the uniform grid.
        keep: bool, of ``shape``, True where an element is kept; None keeps all.
    """

    index: Tensor
    shape: tuple[int, ...]
    bits: int
    bucket_size: int | None
    offset: Tensor
    scale: Tensor
    codebook: Tensor | None = None
    keep: Tensor | None = None

    def decode(self) -> Tensor:
        """The float32 tensor these codes stand for, of ``shape``; the same bits on every machine."""
        levels = self.codebook
        if levels is None:
            # Divided one by one, as the forward pass does, so that both give the same bits.
            levels = torch.arange(2**self.bits, dtype=torch.float32) / (2**self.bits - 1)
        bucket = self.index.numel() if self.bucket_size is None else self.bucket_size
        count = self.index.numel()
        which = torch.arange(count) // max(bucket, 1)
        values = self.scale.float()[which] * levels[self.index.long()] + self.offset.float()[which]
        return scatter_kept(values, self.keep, self.shape)


@dataclass(frozen=True)
class Dense:
    """A tensor stored by value, on the CPU: full precision, exempt, or pruned only.

    Attributes:
        values: any dtype that safetensors knows, the full shape; zero where not kept.
        keep: bool of the same shape, or None keeps all.
    """

    values: Tensor
    keep: Tensor | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.values.shape)

    def decode(self) -> Tensor:
        """The tensor itself, in the dtype it was given."""
        return self.values


def scatter_kept(values: Tensor, keep: Tensor | None, shape: tuple[int, ...]) -> Tensor:
    """Put the kept ``values`` (n,) back where ``keep`` is True; zero elsewhere."""
    if keep is None:
        return values.reshape(shape)
    return torch.zeros(shape, dtype=values.dtype, device=values.device).masked_scatter(keep, values)


class WeightQuantizer(nn.Module):
    """What a :class:`Quantizer` builds for one weight tensor."""

    def initialize(self, weight: Tensor) -> None:
        """Take learned state (a codebook) from the kept values ``weight`` (n,); by default there is none."""

    @abstractmethod
    def forward(self, weight: Tensor) -> Tensor:
        """Kept values (n,) -> their quantized values (n,), with gradients for training."""

    @abstractmethod
    def encode(self, weight: Tensor, shape: tuple[int, ...], keep: Tensor | None) -> Codes | Dense:
        """The kept values (n,) of a tensor of ``shape`` as stored; ``decode()`` equals ``forward``."""

    def penalty(self) -> Tensor | float:
        """A term added to the loss; 0 by default."""
        return 0.0

    def constrain(self, optimizer: torch.optim.Optimizer) -> None:
        """Bring learned state (and its optimizer state) back into range after a step."""


class Quantizer(Part):
    """Weights -> few values."""

    @abstractmethod
    def build(self, weight: Tensor) -> WeightQuantizer:
        """The module that quantizes ``weight``; it holds only what is learned or drawn."""
