"""What is learnt of costs and of time: ridge regressions over the coordinates of recipes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from search.sampling.freezing.outline import Outline

Array = NDArray[np.float64]

PENALTY = 0.3


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


def inputs_of(point: Array, outline: Outline) -> Array:
    """What costs are told by: coordinates, how those of the outline act together, and the number of weights.

    Args:
        point: coordinates of a recipe, shape (d,); those of the outline come first.
        outline: of the recipe.
    """
    weights = outline.log2_weights / 4
    first = point[: len(outline.coordinates())]
    pairs = np.outer(first, first)[np.triu_indices(len(first))]
    return np.concatenate([point, [weights], pairs, first * weights])
