"""How sure a comparison of searches is: seeds drawn again, the same ones for both."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

DRAWS = 1000
SURE = (0.025, 0.975)


def reached(curve: NDArray[np.float64], target: float) -> float:
    """Share of the compute after which ``curve`` is at ``target``; infinity if it never is."""
    there = np.flatnonzero(curve >= target - 1e-12)
    return float((there[0] + 1) / len(curve)) if len(there) else math.inf


def reach(curves: NDArray[np.float64], target: NDArray[np.float64]) -> tuple[float, float, float]:
    """The share of the compute after which a search's mean is where another's ends, and an interval of it.

    Args:
        curves: of the search, shape (seeds, moments).
        target: of the other, likewise; its first as many seeds are paired with these.

    Returns:
        The share, and the ends of its 95 % interval by the bootstrap over seeds; infinite where it never is.
    """
    ends = target[:, -1]
    found = reached(curves.mean(axis=0), float(ends.mean()))
    random = np.random.default_rng(0)
    drawn = []
    for _ in range(DRAWS):
        own = random.integers(len(curves), size=len(curves))
        other = own if len(target) == len(curves) else random.integers(len(target), size=len(target))
        drawn.append(reached(curves[own].mean(axis=0), float(ends[other].mean())))
    low, high = np.quantile(drawn, SURE, method="nearest")
    return found, float(low), float(high)


def difference(
    curves: NDArray[np.float64], other: NDArray[np.float64], place: int
) -> tuple[float, float, float]:
    """The mean paired difference of two searches at one moment, and its 95 % interval by the bootstrap.

    Args:
        curves: shape (seeds, moments).
        other: likewise; seeds that only one of them has are left out.
        place: of the moment.
    """
    seeds = min(len(curves), len(other))
    each = curves[:seeds, place] - other[:seeds, place]
    rows = np.random.default_rng(0).integers(seeds, size=(DRAWS, seeds))
    low, high = np.quantile(each[rows].mean(axis=1), SURE)
    return float(each.mean()), float(low), float(high)
