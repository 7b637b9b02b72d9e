"""Lengths of Huffman codewords: sizes are counted here, nothing is written with such a code.

The packed file itself uses a range coder; published accountings count Huffman codes (Huffman 1952).
"""

from __future__ import annotations

import numpy as np


def code_lengths(counts: np.ndarray) -> np.ndarray:
    """Bits of each symbol's codeword in a code of least total length.

    Of equally short codes it is the one whose longest codeword is shortest (at equal weights, leaves are
    joined before inner nodes and older inner nodes before newer ones). A single symbol gets one bit: a
    codeword of length zero, which several published implementations give it, cannot be counted off a stream.

    Args:
        counts: how often each symbol occurs, integers above zero, shape (k,).

    Returns:
        int64, shape (k,); empty without symbols.
    """
    counts = np.asarray(counts, dtype=np.int64)
    if counts.ndim != 1 or (counts < 1).any():
        raise ValueError(f"counts must be above zero and of one dimension, got {counts}")
    if counts.size < 2:
        return np.ones(counts.size, dtype=np.int64)
    nodes = np.argsort(counts, kind="stable")  # waiting to be joined, lightest first
    weights = counts[nodes]
    joined: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    total = counts.size
    while nodes.size > 1:
        # Whatever is made from now on weighs at least this much: all that weighs no more is joined at once.
        lightest = weights[0] + weights[1]
        pairs = int(np.searchsorted(weights, lightest, side="right")) // 2
        left, right = slice(0, 2 * pairs, 2), slice(1, 2 * pairs, 2)
        made = np.arange(total, total + pairs)
        total += pairs
        joined.append((made, nodes[left], nodes[right]))
        nodes = np.concatenate([nodes[2 * pairs :], made])
        weights = np.concatenate([weights[2 * pairs :], weights[left] + weights[right]])
        order = np.argsort(weights, kind="stable")
        nodes, weights = nodes[order], weights[order]
    depths = np.zeros(total, dtype=np.int64)
    for made, left_children, right_children in reversed(joined):
        depths[left_children] = depths[right_children] = depths[made] + 1
    return depths[: counts.size]


def code_bits(counts: np.ndarray) -> int:
    """Bits of all symbols together in such a code; symbols that do not occur (0) have no codeword."""
    occurring = np.asarray(counts, dtype=np.int64)
    occurring = occurring[occurring > 0]
    return int(occurring @ code_lengths(occurring))
