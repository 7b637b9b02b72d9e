"""Segments that are alike, found by how many bits they would take together."""

from __future__ import annotations

import numpy as np

ROUNDS = 4
MOST_CLASSES = 16
LEARNED_FROM = 2048


def cluster(histograms: np.ndarray, classes: int) -> np.ndarray:
    """A class below ``classes`` for each segment, learned from at most ``LEARNED_FROM`` of them.

    k-means with the coded length as distance: a segment goes to the class under whose pooled histogram
    its symbols are shortest, with the length of the class number itself. It starts from the segments in
    the order of their variance.

    Args:
        histograms: float64, shape (segments, symbols), how often each segment holds each symbol.
        classes: in [2, ``MOST_CLASSES``].

    Returns:
        int64, shape (segments,). Every class from 0 to the highest has a member; there may be fewer than
        asked for.
    """
    some = histograms[:: -(-len(histograms) // LEARNED_FROM)]
    chosen = _spread_out(some, classes)
    for _ in range(ROUNDS):
        moved = _cost(some, some, chosen, classes).argmin(axis=1)
        if np.array_equal(moved, chosen):
            break
        chosen = moved
    if len(some) < len(histograms):
        chosen = _cost(histograms, some, chosen, classes).argmin(axis=1)
    return np.unique(chosen, return_inverse=True)[1]


def _spread_out(histograms: np.ndarray, classes: int) -> np.ndarray:
    """Equally many segments per class, in the order of their variance."""
    total = histograms.sum(axis=1)
    numbers = np.arange(histograms.shape[1])
    mean = histograms @ numbers / total
    order = np.argsort(histograms @ numbers**2 / total - mean**2, kind="stable")
    chosen = np.empty(total.size, dtype=np.int64)
    chosen[order] = np.arange(total.size) * classes // total.size
    return chosen


def _cost(histograms: np.ndarray, some: np.ndarray, chosen: np.ndarray, classes: int) -> np.ndarray:
    """Bits of each of ``histograms`` in each class, into which ``some`` were ``chosen``."""
    members = np.zeros((classes, chosen.size))
    members[chosen, np.arange(chosen.size)] = 1.0
    pooled = some.sum(axis=0)
    # A symbol that a class lacks is unlikely in it, not impossible.
    sums = members @ some + pooled / pooled.sum() + 1e-6
    lengths = -np.log2(sums / sums.sum(axis=1, keepdims=True))
    sizes = members.sum(axis=1) + 0.5
    return histograms @ lengths.T - np.log2(sizes / sizes.sum())


def entropy_bits(histograms: np.ndarray) -> float:
    """Order-0 entropy of symbols counted in ``histograms`` (contexts, symbols), each row its own model."""
    counts = np.maximum(histograms, 1e-300)  # whose product with a logarithm is still nothing
    totals = counts.sum(axis=1)
    return float(totals @ np.log2(totals) - (counts * np.log2(counts)).sum())
