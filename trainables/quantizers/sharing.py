"""Sharing learned levels out among tensors by how much the loss depends on each (Polino et al. 2018).

The published code gives each tensor half of its points and splits the other half in proportion to the
norms of the gradients. What differs here, and why:

- The total that is kept is the bits of all weights, ``sum(size * log2(levels))``, not the number of
  points: a thousand-weight tensor and a million-weight tensor pay differently for one more point, and
  the published split could make the file larger than no split at all.
- The norm is taken per element (root mean square), so a tensor is not given points for being large.
- What rounding leaves over goes to those who lost most by it, not to the smallest tensor.
- Every tensor keeps between two and 256 levels, and at least half of those it brought, as published.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

MAX_LEVELS = 256
_STEPS = 200  # halvings of an interval of doubles: more than its digits


def share_levels(sizes: Sequence[int], norms: Sequence[float], levels: Sequence[int]) -> list[int]:
    """New numbers of levels, proportional to the gradients as far as limits and rounding allow.

    Args:
        sizes: elements of each tensor, at least 1.
        norms: of each tensor's gradient, finite and not negative; all zero changes nothing.
        levels: what each tensor brings, in [2, 256].

    Returns:
        For each tensor a number in [max(2, levels / 2), 256]; ``sum(size * log2(number))`` is at most
        that of ``levels``.
    """
    roots = [norm / math.sqrt(size) for norm, size in zip(norms, sizes, strict=True)]
    if not any(roots):
        return list(levels)
    floors = [max(2, count // 2) for count in levels]
    budget = _bits(sizes, levels) * (1 + 1e-12)

    def wished(factor: float) -> list[float]:
        return [
            min(max(factor * root * count, floor), MAX_LEVELS)
            for root, count, floor in zip(roots, levels, floors, strict=True)
        ]

    low, high = -1000.0, 1000.0  # log2 of the factor
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if _bits(sizes, wished(2.0**middle)) > budget:
            high = middle
        else:
            low = middle
    exact = wished(2.0**low)
    shared = [math.floor(count + 1e-9) for count in exact]
    for number in sorted(range(len(exact)), key=lambda n: shared[n] - exact[n]):
        more = [*shared[:number], shared[number] + 1, *shared[number + 1 :]]
        if shared[number] < exact[number] and more[number] <= MAX_LEVELS and _bits(sizes, more) <= budget:
            shared = more
    return shared


def _bits(sizes: Sequence[int], levels: Sequence[float]) -> float:
    return math.fsum(size * math.log2(count) for size, count in zip(sizes, levels, strict=True))
