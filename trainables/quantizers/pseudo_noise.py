"""Bits learned per group of weights, under noise of the size of their rounding errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from trainables.part import check_choice
from trainables.quantizers.base import Dense, MixedCodes, Quantizer, WeightQuantizer, scatter_kept
from trainables.quantizers.kernels.pseudo_noise import (
    MEBIBYTE_BITS,
    NOISES,
    PARAMETRISATIONS,
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
from trainables.ranges import Range


class _PseudoNoise(WeightQuantizer):
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


class _Small(WeightQuantizer):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, weight: Tensor) -> Tensor:
        return weight if self.training else weight.to(self.dtype).to(weight.dtype)

    def encode(self, weight: Tensor, shape: tuple[int, ...], keep: Tensor | None) -> Dense:
        values = scatter_kept(weight.detach(), keep, shape).to(self.dtype, copy=True).cpu()
        return Dense(values, None if keep is None else keep.cpu())


@dataclass(frozen=True)
class PseudoNoise(Quantizer):
    """Independent noise in place of rounding errors, and bits that are learned under it: DiffQ.

    Défossez, Adi and Synnaeve (TMLR 2022). In training a weight is ``w + step * u`` with fresh noise ``u``,
    where the step is that of its group's bits between the ends of the whole tensor; gradients reach weights
    and bits without a straight-through estimator. The size is paid for in the loss. In eval mode, and as
    shipped, weights are on the grid of their group's bits, rounded to whole ones. Give its phase
    ``train="all"``. The published code wants groups that divide a tensor; here the last may be shorter.

    Attributes:
        group_size: consecutive weights that share their bits, at least 1; None is the whole tensor.
            Published: 8 for CIFAR, 16 for transformers.
        penalty: on the loss for each MB (2^20 bytes) of the published size, at least 0. Published: 5 and 10
            on CIFAR, 1e-3 to 10 elsewhere. What is searched takes students of ten to hundred kB from 6 bits
            to 2: a bit less of all weights of a small student is a small part of a MB.
        initial_bits: strictly between the next two.
        least_bits: in [1, 15).
        most_bits: in (1, 15].
        noise: ``gaussian`` of half a step's standard deviation (published default), or ``uniform`` over one.
        parametrisation: what a logit interpolates: ``bits`` (published default) or, by its logarithm,
            the ``noise``.
        extra_bits: more bits in size and rounding than there was noise for.
        relative_rate: of the bits' logits, in units of the optimizer's rate. Published is a rate of 1e-3 of
            Adam, in tens of thousands of steps; a logit then moves by less than 1 in a thousand, and from 8
            bits to 2 it is 4. The default, chosen by us, gets there in some hundred.
        smallest_mb: of the tensors that are quantized, in MB of float32; smaller ones stay as they are.
            0.01 in the published code, and most of a small student would stay; so 0 here.
        half: whether those are stored in float16, and not in float32.
    """

    group_size: Annotated[
        int | None, Range(1, 2**40, (4, 16), doubling=True, smaller="high", name="group_size")
    ] = 8
    penalty: Annotated[float, Range(0, 1e9, (0.3, 300.0), log=True, smaller="high")] = 5.0
    initial_bits: Annotated[float, Range(1, 15)] = 8.0
    least_bits: Annotated[float, Range(1, 15)] = 2.0
    most_bits: Annotated[float, Range(1, 15)] = 15.0
    noise: str = "gaussian"
    parametrisation: str = "bits"
    extra_bits: Annotated[float, Range(0, 14)] = 0.0
    relative_rate: Annotated[float, Range(0, 1e6, excluded="low")] = 30.0
    smallest_mb: Annotated[float, Range(0, 1e6)] = 0.0
    half: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "noise", NOISES)
        check_choice(self, "parametrisation", PARAMETRISATIONS)
        if not self.least_bits < self.initial_bits < self.most_bits:
            raise ValueError(
                "initial_bits must be strictly between least_bits and most_bits, got "
                f"initial_bits={self.initial_bits:g}, {self.least_bits:g} and {self.most_bits:g}"
            )

    def build(self, weight: Tensor, name: str = "") -> WeightQuantizer:
        if weight.numel() <= int(self.smallest_mb * 2**20 / 4):
            return _Small(torch.float16 if self.half else torch.float32)
        return _PseudoNoise(self, weight)
