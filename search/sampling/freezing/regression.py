"""What is learnt of costs and of time, over the coordinates of recipes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky

from search.sampling.freezing.outline import Outline

Array = NDArray[np.float64]

PENALTY = 0.3

SMOOTHED, NOISE = 250, 2e-3
"""Values that a smooth regression looks at, and the variance of each beside its own."""


class Ridge:
    """A straight line through what was seen, which few values bend little.

    Args:
        inputs: shape (n, d); there may be none.
        values: finite, shape (n,).
        otherwise: what is said as long as nothing was seen.
        penalty: of each slope, above 0; the intercept is nearly free.
    """

    def __init__(
        self, inputs: Array, values: Array, otherwise: float = 0.0, penalty: float = PENALTY
    ) -> None:
        self._otherwise = otherwise
        self._slopes: Array | None = None
        if len(values):
            design = np.column_stack([np.ones(len(inputs)), inputs])
            penalties = np.r_[1e-3, np.full(inputs.shape[1], penalty)]
            # What was seen counts as much as the start says it does: with one value that is the answer.
            self._middle = float(values.mean())
            self._slopes = np.linalg.solve(
                design.T @ design + np.diag(penalties), design.T @ (values - self._middle)
            )

    def at(self, inputs: Array) -> Array:
        """What is expected of each of m inputs, shape (m,)."""
        if self._slopes is None:
            return np.full(len(inputs), self._otherwise)
        found: Array = self._middle + self._slopes[0] + inputs @ self._slopes[1:]
        return found


class Smooth:
    """A Gaussian process through what was seen, whose parameters stand: near it what was seen, else its mean.

    Args:
        inputs: shape (n, d); there may be none. Of more than :data:`SMOOTHED` the last ones count.
        values: finite, shape (n,).
        variance: of the values about their mean.
        more: variance of each value by itself, beside :data:`NOISE`, shape (n,); default none.
    """

    def __init__(self, inputs: Array, values: Array, variance: float, more: Array | None = None) -> None:
        self._inputs, self._variance = inputs[-SMOOTHED:], variance
        self._mean = 0.0
        if len(values):
            values = values[-SMOOTHED:]
            own = NOISE + (np.zeros(len(values)) if more is None else more[-SMOOTHED:])
            self._mean = float(np.average(values, weights=1 / (own + variance)))
            covariance = self._between(self._inputs, self._inputs) + np.diag(own)
            self._weights = cho_solve((cholesky(covariance, lower=True), True), values - self._mean)

    def at(self, inputs: Array) -> Array:
        """What is expected of each of m inputs, shape (m,); 0 as long as nothing was seen."""
        if not len(self._inputs):
            return np.zeros(len(inputs))
        found: Array = self._mean + self._between(inputs, self._inputs) @ self._weights
        return found

    def _between(self, one: Array, other: Array) -> Array:
        """Matérn 5/2 of length 1, and half as much of a linear part."""
        squares = (one * one).sum(1)[:, None] + (other * other).sum(1) - 2 * one @ other.T
        distance = np.sqrt(np.maximum(5 * squares, 1e-12))
        matern = (1 + distance + distance * distance / 3) * np.exp(-distance)
        found: Array = self._variance * (matern + 0.5 * (1 + one @ other.T))
        return found


def inputs_of(point: Array, outline: Outline) -> Array:
    """What costs are told by: the coordinates of a recipe, and its number of weights in doublings."""
    return np.append(point, outline.log2_weights / 4)
