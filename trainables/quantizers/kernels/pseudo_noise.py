"""Learned bits: noise of the size of a rounding error, the size of the result, and the rounding itself.

The formulas of DiffQ (Défossez, Adi and Synnaeve, TMLR 2022) and of its published code, free of state: every
random draw is an argument. A tensor is cut into groups of consecutive elements in row-major order, the last
of which may be shorter, and each group has a number of bits ``b``. The step of a group is
``(max - min) / (2^b - 1)``, with the smallest and the largest weight of the *whole* tensor.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

NOISES = ("gaussian", "uniform")
PARAMETRISATIONS = ("bits", "noise")
FEWEST_BITS, MOST_BITS = 1, 15
"""Of a weight as it is rounded, whatever was learned."""

RANGE_BITS = 64
"""What a tensor's smallest and largest value count for."""
INDEX_WIDTH_BITS = 8
"""What counts for the number of bits that say how many bits a group has."""
MEBIBYTE_BITS = 2**23
"""Bits of the MB in which sizes are published: 2^20 bytes."""


def group_count(elements: int, group_size: int | None) -> int:
    """Groups that ``elements`` weights are cut into; None is one group."""
    return min(elements, 1) if group_size is None else -(-elements // group_size)


class Groups:
    """Which group each weight is in.

    Args:
        elements: of the whole tensor.
        group_size: consecutive elements in a group; None is one group.
        keep: bool, which elements the weights are, in row-major order; None are all.

    Attributes:
        count: how many groups there are; those without a weight are among them.
    """

    def __init__(self, elements: int, group_size: int | None, keep: Tensor | None = None) -> None:
        self.count = group_count(elements, group_size)
        self._elements, self._size = elements, min(group_size or elements, elements)
        places = None if keep is None else torch.nonzero(keep.reshape(-1)).reshape(-1)
        self._numbers = None if places is None else places.div_(max(self._size, 1), rounding_mode="floor")

    def spread(self, values: Tensor) -> Tensor:
        """Values of groups, shape (groups,), for each weight, shape (n,)."""
        if self._numbers is not None:
            return values[self._numbers]
        return values.repeat_interleave(self._size, output_size=self.count * self._size)[: self._elements]

    def sums(self, values: Tensor) -> Tensor:
        """Sums over the weights of each group, shape (groups,)."""
        if self._numbers is not None:
            total = torch.zeros(self.count, dtype=torch.float64, device=values.device)
            return total.index_add_(0, self._numbers, values.double()).to(values.dtype)
        missing = self.count * self._size - self._elements
        return F.pad(values, (0, missing)).reshape(self.count, self._size).sum(1)

    def weights(self, device: torch.device) -> Tensor:
        """How many weights each group has, float32, shape (groups,)."""
        if self._numbers is not None:
            return torch.bincount(self._numbers, minlength=self.count).float()
        found = torch.full((self.count,), float(self._size), device=device)
        found[-1:] -= self.count * self._size - self._elements
        return found


def bits_of(logit: Tensor, least: float, most: float, parametrisation: str = "bits") -> Tensor:
    """How many bits a logit stands for, in (least, most); any shape, differentiable.

    Args:
        logit: any shape.
        least: fewest bits, at least 1.
        most: most bits, above ``least``.
        parametrisation: ``bits`` interpolates bits, ``noise`` the logarithm of the step of a unit range.
    """
    share = torch.sigmoid(logit)
    if parametrisation == "bits":
        return most * share + least * (1 - share)
    finest, coarsest = math.log(_unit_step(most)), math.log(_unit_step(least))
    return torch.log2(1 + torch.exp(-(share * finest + (1 - share) * coarsest)))


def logit_of(bits: float, least: float, most: float, parametrisation: str = "bits") -> float:
    """The logit that stands for ``bits``, which lies strictly between ``least`` and ``most``."""
    if parametrisation == "bits":
        share = (bits - least) / (most - least)
    else:
        coarsest = math.log(_unit_step(least))
        share = (coarsest - math.log(_unit_step(bits))) / (coarsest - math.log(_unit_step(most)))
    return math.log(share / (1 - share))


def _unit_step(bits: float) -> float:
    return 1 / (2**bits - 1)


def drawn_noise(draw: Tensor, noise: str) -> Tensor:
    """Noise in units of a step: half of a normal ``draw``, or a ``draw`` from [0, 1) less a half.

    Gaussian noise has the standard deviation 1/2, uniform noise spans one step.
    """
    return draw / 2 if noise == "gaussian" else draw - 0.5


class _Noisy(torch.autograd.Function):
    """One pass forward and one back: the same in PyTorch's own operations would keep six tensors."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bits: Tensor, noise: Tensor, groups: Groups) -> Tensor:
        low, high = weight.amin(), weight.amax()  # which take a fifth of the time of aminmax()
        levels = torch.exp2(bits) - 1
        relative = noise / groups.spread(levels)  # of the range
        ctx.save_for_backward(weight, relative, levels, low, high)
        ctx.groups = groups
        return weight + (high - low) * relative

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (gradient,) = gradients
        weight, relative, levels, low, high = ctx.saved_tensors
        by_group = ctx.groups.sums(gradient * relative)
        of_range = by_group.sum()
        at_high, at_low = weight == high, weight == low
        of_ends = of_range * at_high / at_high.sum() - of_range * at_low / at_low.sum()
        # d/db 1 / (2^b - 1) = -ln 2 * 2^b / (2^b - 1)^2
        of_bits = -math.log(2) * (high - low) * by_group * (levels + 1) / levels
        return gradient + of_ends, of_bits, None, None


def noisy(weight: Tensor, bits: Tensor, noise: Tensor, groups: Groups) -> Tensor:
    """Weights with noise of the size of their steps, differentiable in weights and bits.

    Gradients run through the smallest and the largest weight too; equal ones share theirs.

    Args:
        weight: shape (n,), n > 0.
        bits: of each group, shape (groups,); need not be whole.
        noise: in units of a step, shape (n,); see :func:`drawn_noise`.
        groups: that the weights are in.

    Returns:
        shape (n,).
    """
    return _Noisy.apply(weight, bits, noise, groups)


def whole_bits(bits: Tensor, extra: float = 0.0) -> Tensor:
    """Bits as they ship: with ``extra`` ones, rounded half to even, between 1 and 15; float."""
    return torch.round(bits + extra).clamp(FEWEST_BITS, MOST_BITS)


class Rounded(NamedTuple):
    """Weights as levels of their groups.

    Attributes:
        level: int16, shape (n,), in ``0 ... 2^b - 1``.
        offset: smallest weight, shape (1,).
        scale: largest less smallest weight, shape (1,).
    """

    level: Tensor
    offset: Tensor
    scale: Tensor


def rounded(weight: Tensor, width: Tensor) -> Rounded:
    """Each weight as the nearest of ``2^width`` even levels between the ends of the tensor, half to even.

    Args:
        weight: float32, shape (n,); of equal weights all are the level 0.
        width: whole bits of each weight, integer, shape (n,), in [1, 15].
    """
    if not weight.numel():
        zero = weight.new_zeros(1)
        return Rounded(weight.to(torch.int16), zero, zero)
    low, high = weight.detach().amin().reshape(1), weight.detach().amax().reshape(1)
    scale = high - low
    unit = (weight.detach() - low).div_(torch.where(scale > 0, scale, 1.0))
    return Rounded(unit.mul_(steps_of(width)).round_().to(torch.int16), low, scale)


def worth(level: Tensor, width: Tensor, offset: Tensor, scale: Tensor) -> Tensor:
    """What levels are worth, float32, shape (n,); inverse of :func:`rounded` up to its rounding."""
    return level.float().div_(steps_of(width)).mul_(scale).add_(offset)


def steps_of(width: Tensor) -> Tensor:
    """``2^width - 1``, float32, exact."""
    return (torch.bitwise_left_shift(torch.ones_like(width, dtype=torch.int32), width.int()) - 1).float()


def size_bits(bits: Tensor, weights: Tensor | int, least: float) -> Tensor:
    """Bits that a tensor takes as published, a scalar, differentiable in ``bits``.

    The weights at their bits, 64 for the ends of the tensor, 8 for the width of an index, and an index per
    group that says how many bits it has; the last three have no gradient. Of learned bits it is the term
    that training pays for, of :func:`whole_bits` the exact size.

    Args:
        bits: of each group, ``extra`` ones included, shape (groups,), groups > 0.
        weights: how many weights are in each group, or in all of them.
        least: fewest bits that could be learned.
    """
    with torch.no_grad():
        highest = float(bits.max().round())
        index = math.ceil(math.log2(1 + highest - least)) if highest > least else 0
        beside = RANGE_BITS + INDEX_WIDTH_BITS + index * bits.numel()
    return (weights * bits).sum() + beside


def model_size_mb(quantized: Iterable[Tensor], others: int, *, float16: bool = False) -> Tensor | float:
    """The size of a model in MB of 2^20 bytes, as published.

    Args:
        quantized: :func:`size_bits` of each quantized tensor.
        others: parameters that are not quantized.
        float16: whether those have 16 bits, and not 32.
    """
    return (sum(quantized, start=0.0) + (16 if float16 else 32) * others) / MEBIBYTE_BITS
