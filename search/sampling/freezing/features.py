"""Recipes of any space as points, between which a process measures distances."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution
from scipy.stats import spearmanr

from search.sampling.freezing.outline import Outline
from search.sampling.places import place_of

OFTEN = 0.25
"""A number that fewer of a space's recipes have shares its length scale with the others of that kind."""

ABSENT = 0.5
"""Where a number stands that a recipe does not have: in the middle (Levesque et al. 2017)."""

SAME = 0.999
"""Rank correlation from which on a parameter says nothing that an outline does not say."""

FEWEST = 8
"""Recipes from which a correlation is told."""


@dataclass(frozen=True)
class Features:
    """How parameters become coordinates.

    A number is its place in its range, a choice one coordinate per value, so that two values are a distance
    of 1 apart, and what an :class:`Outline` knows stands beside them: steps of a quantizer and the share of
    weights that stay act on a student alike, however a method calls them, and so do weights, whatever an
    architecture calls its depth and width. A parameter that only repeats the outline is left out.

    Attributes:
        numbers: numeric parameters, in the order of their coordinates.
        choices: categorical ones, likewise.
        groups: for each coordinate which length scale it has, int64, shape (d,).
        weights: log2 of how many the smallest and the largest network have, which are 0 and 1; at least one
            doubling apart.
    """

    numbers: Mapping[str, BaseDistribution]
    choices: Mapping[str, CategoricalDistribution]
    groups: NDArray[np.int64]
    weights: tuple[float, float]

    @classmethod
    def of(
        cls,
        parameters: Mapping[str, BaseDistribution],
        params: Sequence[Mapping[str, Any]],
        outlines: Sequence[Outline],
    ) -> Features:
        """The features of a space.

        Args:
            parameters: all that it may ask for.
            params: of some of its recipes, drawn at random.
            outlines: of the same.
        """
        sizes = [outline.log2_weights for outline in outlines]
        weights = min(sizes), max(*sizes, min(sizes) + 1)
        known = np.array([_known(outline, weights) for outline in outlines])
        numbers, choices = dict[str, BaseDistribution](), dict[str, CategoricalDistribution]()
        for name, distribution in parameters.items():
            if isinstance(distribution, CategoricalDistribution):
                if len(distribution.choices) > 1:
                    choices[name] = distribution
            elif not distribution.single() and not _repeats(name, distribution, params, known):
                numbers[name] = distribution
        often = [sum(name in each for each in params) >= OFTEN * len(params) for name in numbers]
        groups, count = list(range(known.shape[1])), known.shape[1]
        for own in often:
            groups.append(count if own else -1)
            count += own
        if not all(often):
            groups = [count if group < 0 else group for group in groups]
            count += 1
        for distribution in choices.values():
            groups += [count] * len(distribution.choices)
            count += 1
        return cls(numbers, choices, np.array(groups, dtype=np.int64), weights)

    def point(self, params: Mapping[str, Any], outline: Outline) -> NDArray[np.float64]:
        """The coordinates of a recipe, float64, shape (d,).

        Args:
            params: of the recipe; those that it does not have stand in the middle.
            outline: of the recipe.
        """
        found = list(_known(outline, self.weights))
        found += [
            place_of(distribution, params[name]) if name in params else ABSENT
            for name, distribution in self.numbers.items()
        ]
        for name, distribution in self.choices.items():
            chosen = params.get(name)
            found += [math.sqrt(0.5) if choice == chosen else 0.0 for choice in distribution.choices]
        return np.array(found)


def _known(outline: Outline, weights: tuple[float, float]) -> tuple[float, ...]:
    """What an outline says of a student, each about in [0, 1]."""
    low, high = weights
    return (*outline.coordinates(), (outline.log2_weights - low) / (high - low))


def _repeats(
    name: str,
    distribution: BaseDistribution,
    params: Sequence[Mapping[str, Any]],
    known: NDArray[np.float64],
) -> bool:
    """Whether a parameter orders the recipes that have it as a coordinate of their outlines does."""
    rows = [row for row, each in enumerate(params) if name in each]
    own = [place_of(distribution, params[row][name]) for row in rows]
    if len(rows) < FEWEST or len(set(own)) < 2:
        return False
    columns = known[rows].T
    return any(
        len(set(column)) > 1 and abs(float(spearmanr(own, column).statistic)) >= SAME for column in columns
    )
