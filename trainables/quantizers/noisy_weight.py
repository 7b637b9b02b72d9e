"""What :class:`~trainables.quantizers.pseudo_noise.PseudoNoise` builds for one weight tensor."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from trainables.quantizers.base import Dense, MixedCodes, WeightQuantizer, scatter_kept
from trainables.quantizers.kernels.pseudo_noise import (
    MEBIBYTE_BITS,
    Groups,
    bits_of,
    drawn_noise,
    group_count,
    logit_of,
    noisy,
    rounded,
    size_bits,
    whole_bits,
    worth,
)

if TYPE_CHECKING:
    from trainables.quantizers.pseudo_noise import PseudoNoise


class NoisyWeight(WeightQuantizer):
    """Noise in training, the grid of each group's bits elsewhere; it learns the logits of the bits."""

    divisible = False

    def __init__(self, part: PseudoNoise, weight: Tensor) -> None:
        super().__init__()
        self.part, self.elements = part, weight.numel()
        start = logit_of(part.initial_bits, part.least_bits, part.most_bits, part.parametrisation)
        groups = group_count(self.elements, part.group_size)
        self.logit = nn.Parameter(torch.full((groups,), start, device=weight.device))
        self.locate(None)

    def locate(self, keep: Tensor | None) -> None:
        self._groups = Groups(self.elements, self.part.group_size, keep)

    def bits(self) -> Tensor:
        """Of each group, shape (groups,), as they are learned."""
        part = self.part
        return bits_of(self.logit, part.least_bits, part.most_bits, part.parametrisation)

    def forward(self, weight: Tensor) -> Tensor:
        flat = weight.reshape(-1)
        if not flat.numel():
            return weight
        if self.training:
            draw = torch.randn_like(flat) if self.part.noise == "gaussian" else torch.rand_like(flat)
            return noisy(flat, self.bits(), drawn_noise(draw, self.part.noise), self._groups).view_as(weight)
        width = self._groups.spread(self._whole())
        level, offset, scale = rounded(flat, width)
        made = worth(level, width, offset, scale).view_as(weight)
        return made + (weight - weight.detach())  # adds nothing but a gradient

    def _whole(self) -> Tensor:
        return whole_bits(self.bits().detach(), self.part.extra_bits).to(torch.uint8)

    def penalty(self) -> Tensor | float:
        """The published size of the kept weights in MB, at its price."""
        if not self.logit.numel():
            return 0.0
        bits = self.bits() + self.part.extra_bits
        size = size_bits(bits, self._groups.weights(bits.device), self.part.least_bits)
        return self.part.penalty / MEBIBYTE_BITS * size

    @torch.no_grad()
    def take_least(self) -> None:
        self.logit.fill_(-math.inf)

    def rates(self) -> dict[nn.Parameter, float]:
        return {self.logit: self.part.relative_rate}

    @torch.no_grad()
    def encode(self, weight: Tensor, shape: tuple[int, ...], keep: Tensor | None) -> MixedCodes:
        self.locate(keep)
        bits = self._whole()
        level, offset, scale = rounded(weight.reshape(-1), self._groups.spread(bits))
        used = self._groups.weights(bits.device) > 0
        # What has no weight costs least where it is like most of the others.
        bits = torch.where(used, bits, bits[used].mode().values if used.any() else bits.new_tensor(1))
        kept = None if keep is None else keep.cpu()
        return MixedCodes(
            level.cpu(), shape, bits.cpu(), self.part.group_size, offset.cpu(), scale.cpu(), kept
        )


class SmallWeight(WeightQuantizer):
    """A tensor that is stored by value, in ``dtype``."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, weight: Tensor) -> Tensor:
        return weight if self.training else weight.to(self.dtype).to(weight.dtype)

    def encode(self, weight: Tensor, shape: tuple[int, ...], keep: Tensor | None) -> Dense:
        values = scatter_kept(weight.detach(), keep, shape).to(self.dtype, copy=True).cpu()
        return Dense(values, None if keep is None else keep.cpu())
