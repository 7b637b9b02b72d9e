"""Fixed stratified splits: which samples of a labelled set are held out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SPLIT_SEED = 20_180_215
"""Of all splits that no publisher fixed. The seed of a run must not move samples between splits."""


def stratified(labels: np.ndarray, held_out: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Disjoint index sets drawn class by class: first what remains, then one per ``held_out``.

    Args:
        labels: int64, shape (n,), classes 0, 1, ...
        held_out: per held-out set the number of samples of each class, shape (classes,).

    Returns:
        Sorted int64 indices: the rest, then each held-out set.

    Raises:
        ValueError: a class has fewer samples than are held out of it.
    """
    sets: list[list[np.ndarray]] = [[] for _ in range(len(held_out) + 1)]
    # RandomState's stream is frozen for ever; that of numpy's newer generators may change with a release.
    random = np.random.RandomState(SPLIT_SEED)
    for label in range(len(held_out[0])):
        members = random.permutation(np.flatnonzero(labels == label))
        counts = [int(counts[label]) for counts in held_out]
        if sum(counts) > len(members):
            raise ValueError(
                f"class {label} has {len(members)} samples, of which {sum(counts)} should be held out"
            )
        edges = np.cumsum(counts)
        *parts, rest = np.split(members, edges)
        for chosen, part in zip(sets, [rest, *parts], strict=True):
            chosen.append(part)
    return [np.sort(np.concatenate(parts)) for parts in sets]


def proportional(sizes: np.ndarray, total: int) -> np.ndarray:
    """``total`` shared out in proportion to ``sizes`` (largest remainders; ties to the first class)."""
    quotas = total * sizes / sizes.sum()
    shares = np.floor(quotas).astype(np.int64)
    order = np.argsort(-(quotas - shares), kind="stable")
    shares[order[: total - int(shares.sum())]] += 1
    return shares
