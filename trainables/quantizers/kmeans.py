"""k-means of numbers on a line (Han, Mao & Dally 2016, "Deep Compression", section 3)."""

from __future__ import annotations

import torch
from torch import Tensor


def kmeans_points(values: Tensor, count: int, iterations: int = 1000, tolerance: float = 0.0) -> Tensor:
    """``count`` centres that leave a small sum of squared distances from each value to its nearest centre.

    Lloyd's algorithm from evenly spaced centres, which the paper recommends because it keeps large, rare
    values. On a line, clusters are runs of the sorted values, so after one sort and one cumulative sum a
    round takes ``count`` binary searches. Where the paper leaves a cluster that lost all its values empty,
    its centre moves to the value worst off, which never makes the sum larger.

    Args:
        values: at least one finite number, any shape and device.
        count: at least 1.
        iterations: at most so many rounds; stops earlier when no centre moves.
        tolerance: stops, too, when the squares of all moves sum to at most so much of the values' variance; 0
            (default) goes on until nothing moves. scikit-learn's default is 1e-4, in at most 300 rounds.

    Returns:
        float64 on the CPU, shape (count,), ascending. With no more distinct values than centres, each
        distinct value is a centre.
    """
    if values.numel() == 0:
        raise ValueError("values must not be empty")
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count=}")
    ordered = values.detach().reshape(-1).float().sort().values.cpu().double()
    sums = torch.cat([torch.zeros(1, dtype=torch.float64), ordered.cumsum(0)])
    centres = torch.linspace(float(ordered[0]), float(ordered[-1]), count, dtype=torch.float64)
    least = tolerance * float(ordered.var(correction=0))
    for _ in range(iterations):
        before, centres = centres, _round(ordered, sums, centres)
        if float((centres - before).square().sum()) <= least:
            break
    return centres


def _round(ordered: Tensor, sums: Tensor, centres: Tensor) -> Tensor:
    """Each centre moves to the mean of the values nearest to it; those without any, to the worst off."""
    inner = torch.searchsorted(ordered, (centres[1:] + centres[:-1]) / 2)
    bounds = torch.cat([inner.new_zeros(1), inner, inner.new_full((1,), ordered.numel())])
    first, stop = bounds[:-1], bounds[1:]
    size = stop - first
    filled = size > 0
    low, high = ordered[first.clamp(max=ordered.numel() - 1)], ordered[(stop - 1).clamp(min=0)]
    means = (sums[stop] - sums[first]) / size.clamp(min=1)
    # The difference of two sums is off by a rounding error, which must not set equal values apart.
    moved = torch.where(filled, torch.where(low == high, low, means.clamp(low, high)), centres)
    missing = int((~filled).sum())
    if missing:
        # In a run of sorted values, the worst off is the first or the last.
        edges = torch.cat([first[filled], stop[filled] - 1])
        distance = (ordered[edges] - moved[filled].repeat(2)).abs()
        order = torch.argsort(distance, descending=True, stable=True)[:missing]
        worst = ordered[edges[order]][distance[order] > 0]
        moved[torch.nonzero(~filled).reshape(-1)[: worst.numel()]] = worst
    return moved.sort().values
