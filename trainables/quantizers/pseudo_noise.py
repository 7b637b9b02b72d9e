"""Bits learned per group of weights, under noise of the size of their rounding errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from trainables.part import check_choice
from trainables.quantizers.base import Quantizer, WeightQuantizer
from trainables.quantizers.kernels.pseudo_noise import NOISES, PARAMETRISATIONS
from trainables.quantizers.noisy_weight import NoisyWeight, SmallWeight
from trainables.ranges import Range


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
        least_bits: in [1, 15], below the most.
        most_bits: in [1, 15], above the least.
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

    @property
    def learns_size(self) -> bool:
        return True

    def build(self, weight: Tensor, name: str = "") -> WeightQuantizer:
        if weight.numel() <= int(self.smallest_mb * 2**20 / 4):
            return SmallWeight(torch.float16 if self.half else torch.float32)
        return NoisyWeight(self, weight)
