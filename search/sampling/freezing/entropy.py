"""How many bits quantized weights take once they are coded, told from their quantizer before they train."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from trainables.quantizers import LearnedPoints, LearnedStep, Quantizer, Symmetric, Uniform

Array = NDArray[np.float64]

CODED = 1.03
"""Bits that coding takes for one of entropy, as trained weights are no normal distribution."""

TWO_LEVELS = 0.95
"""Entropy of one bit by the ends of a bucket, which are not equally far from its middle."""

FAR = 20.0
"""Beyond any weight, in deviations."""


class Coded(NamedTuple):
    """What coding is expected to take.

    Attributes:
        bits: of each weight, those that were pruned included, without scales, offsets and tables.
        levels: how many of them occur.
    """

    bits: float
    levels: float


def coded(quantizer: Quantizer, kept: float, row: int, tensor: int) -> Coded:
    """What trained weights take: as a normal distribution, of which the smallest are pruned, on the levels.

    Quantizers that are not known here take all their bits.

    Args:
        quantizer: of all of them.
        kept: share of the weights that is not pruned, in (0, 1].
        row: weights that belong to one channel, on average.
        tensor: weights of a tensor, on average.
    """
    if isinstance(quantizer, Uniform):
        return _uniform(quantizer.bits, quantizer.bucket_size or tensor, kept)
    if isinstance(quantizer, LearnedStep):
        return _around_zero(quantizer.bits, 0, kept)
    if isinstance(quantizer, Symmetric):
        alone = row if quantizer.per_channel else quantizer.bucket_size or tensor
        return _around_zero(quantizer.bits, alone, kept)
    bits = float(getattr(quantizer, "bits", 0) or getattr(quantizer, "initial_bits", 32.0))
    levels = 2.0**bits if isinstance(quantizer, LearnedPoints) else 0.0
    return Coded(CODED * (kept * bits + mask_bits(kept)), levels)


def mask_bits(kept: float) -> float:
    """Of each weight, to say whether it was pruned."""
    return -(kept * math.log2(kept) + (1 - kept) * math.log2(1 - kept)) if kept < 1 else 0.0


@functools.lru_cache(maxsize=4096)
def _uniform(bits: int, bucket: int, kept: float) -> Coded:
    """Levels from the least to the largest of so many weights that are kept."""
    most = _extreme(bucket / kept)
    shares = _shares(np.linspace(-most, most, 2**bits), kept)
    own = _entropy(shares) * (TWO_LEVELS if bits == 1 else 1.0)
    return Coded(CODED * (kept * own + mask_bits(kept)), _occurring(shares))


@functools.lru_cache(maxsize=4096)
def _around_zero(bits: int, row: int, kept: float) -> Coded:
    """Levels around an exact zero, which pruned weights have, too.

    The largest level is the largest of ``row`` weights; with 0, the step is that which learned ones begin
    with (Esser et al. 2020, section 2.1).
    """
    highest = max(2 ** (bits - 1) - 1, 1)
    if row:
        levels = _extreme(2 * row) / highest * np.arange(-highest, highest + 1)
    else:
        mean = 2 * math.exp(-(_edge(kept) ** 2) / 2) / math.sqrt(2 * math.pi) / kept
        levels = 2 * mean / math.sqrt(highest) * np.arange(-highest - 1, highest + 1)
    shares = kept * _shares(levels, kept)
    shares[int(np.argmin(np.abs(levels)))] += 1 - kept
    return Coded(CODED * _entropy(shares), _occurring(shares))


def _shares(levels: Array, kept: float) -> Array:
    """Of the weights that are kept, how many are nearest to each level."""
    edge = _edge(kept)
    bounds = np.r_[-FAR, (levels[1:] + levels[:-1]) / 2, FAR]
    below = np.diff(ndtr(np.minimum(bounds, -edge)))
    above = np.diff(ndtr(np.maximum(bounds, edge)))
    return np.maximum(below + above, 0.0) / kept


def _edge(kept: float) -> float:
    """Below which weights are pruned, in deviations."""
    return float(-ndtri(kept / 2)) if kept < 1 else 0.0


def _extreme(count: float) -> float:
    """The largest of so many weights, as expected (Blom 1958)."""
    many = max(count, 2.0)
    return float(ndtri((many - 0.375) / (many + 0.25)))


def _entropy(shares: Array) -> float:
    found = shares[shares > 1e-12]
    return float(-(found * np.log2(found)).sum())


def _occurring(shares: Array) -> float:
    return float((shares > 1e-4).sum())
