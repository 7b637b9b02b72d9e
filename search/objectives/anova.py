"""Functional ANOVA of trees: how much of what a forest predicts each parameter explains by itself.

A leaf is a box: of each parameter, some of its values. The marginal of a parameter at one value is the mean
of the leaves that hold it, each weighted by its share of what the other parameters can be; the variance of
the marginal is what the parameter explains (Hutter, Hoos and Leyton-Brown 2014). Optuna's evaluator computes
the same by walking every tree in Python for every value, and for every corner of the cube that the columns
of a choice span; here it is a few products of matrices per tree, and a choice is one of its values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Numbers = npt.NDArray[np.float64]
WIDE = 50
"""Positive numbers whose largest is so many times the smallest are weighed by their logarithm."""


@dataclass(frozen=True)
class Encoded:
    """Parameters as columns of numbers: one of a number, one per value of a choice.

    Attributes:
        names: of the parameters.
        matrix: shape (trials, columns).
        columns: of each parameter, which columns are its own; a single one is a number.
        low: smallest value of each column.
        high: largest value of each column.
    """

    names: list[str]
    matrix: Numbers
    columns: list[slice]
    low: Numbers
    high: Numbers


def encoded(parameters: pd.DataFrame) -> Encoded:
    """Columns of at least two values each: numbers where all are there, else choices; ``none`` is one."""
    blocks = [_block(parameters[name]) for name in parameters]
    ends = np.cumsum([block.shape[1] for block in blocks]).tolist()
    columns = [slice(end - block.shape[1], end) for end, block in zip(ends, blocks, strict=True)]
    matrix = np.hstack(blocks)
    return Encoded([*map(str, parameters)], matrix, columns, matrix.min(axis=0), matrix.max(axis=0))


def grouped(column: pd.Series[Any]) -> pd.Series[Any]:
    """Numbers of many values by eighths, and anything else as it is."""
    many = column.dtype == "float64" and column.nunique() > 16
    return pd.qcut(column, 8, duplicates="drop") if many else column


def _block(column: pd.Series[Any]) -> Numbers:
    if column.dtype == "float64" and column.notna().all():
        numbers = column.to_numpy(dtype=float)
        log = numbers.min() > 0 and numbers.max() / numbers.min() > WIDE
        return (np.log(numbers) if log else numbers)[:, None]
    codes, values = pd.factorize(grouped(column), use_na_sentinel=False)
    return np.eye(len(values))[codes]


def explained(tree: Any, data: Encoded) -> Numbers | None:
    """Share of the variance of one tree's predictions that each parameter explains by itself.

    Args:
        tree: ``tree_`` of a regression tree of scikit-learn, grown on rows of ``data``.
        data: all trials; what parameters can be is what they are there.

    Returns:
        Shape (parameters,), in all at most 1; None of a tree that predicts one value.
    """
    low, high = _boxes(tree, data.matrix.shape[1])
    leaves = tree.feature < 0
    low, high, predicted = low[leaves], high[leaves], tree.value[leaves].ravel()
    inside, weights = zip(*(_cells(low, high, data, own) for own in data.columns), strict=True)
    sizes = np.column_stack([each @ weight for each, weight in zip(inside, weights, strict=True)])
    volumes = sizes.prod(axis=1)
    mean = volumes @ predicted
    total = volumes @ (predicted - mean) ** 2
    if total <= 0:
        return None
    found = []
    for held, weight, size in zip(inside, weights, sizes.T, strict=True):
        others = np.divide(volumes, size, out=np.zeros_like(size), where=size > 0)
        marginal = (predicted * others) @ held
        found.append(weight @ (marginal - mean) ** 2 / total)
    return np.array(found)


def _boxes(tree: Any, columns: int) -> tuple[Numbers, Numbers]:
    """Between which bounds each node holds each column; a node holds what is above low, up to high."""
    low = np.full((tree.node_count, columns), -np.inf)
    high = np.full((tree.node_count, columns), np.inf)
    parts = zip(tree.children_left, tree.children_right, tree.feature, tree.threshold, strict=True)
    for node, (left, right, feature, threshold) in enumerate(parts):
        if feature >= 0:
            low[[left, right]], high[[left, right]] = low[node], high[node]
            high[left, feature] = low[right, feature] = threshold
    return low, high


def _cells(low: Numbers, high: Numbers, data: Encoded, own: slice) -> tuple[Numbers, Numbers]:
    """Which leaves hold which values of a parameter, shape (leaves, values), and what share each value has.

    Values of a number are the ranges between two splits.
    """
    low, high = low[:, own], high[:, own]
    if low.shape[1] > 1:
        choices = np.eye(low.shape[1])
        held = ((low[:, None] < choices) & (choices <= high[:, None])).all(axis=2)
        return held.astype(float), np.full(len(choices), 1 / len(choices))
    edges = np.unique(np.concatenate([low, high, data.low[own], data.high[own]], axis=None))
    edges = edges[np.isfinite(edges)]
    held = (low < edges[1:]) & (edges[1:] <= high)
    held[:, -1] = ~np.isfinite(high[:, 0])
    return held.astype(float), np.diff(edges) / (edges[-1] - edges[0])
