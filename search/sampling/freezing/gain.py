"""How much a student would add to the front, if it ended as a process expects."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from search.objectives.front import at_closeness, closeness

Array = NDArray[np.float64]

LEVELS = 91
"""Qualities, from the least that counts to the best, at which the front is known."""

STEPS_OF_MANY = 12
"""With three costs and more, at so many; and as many students of the front, those that are best."""


def scale(worths: Array) -> Array:
    """Worths in [0, 1] on the scale of the process, on which counting noise is the same everywhere."""
    return np.arcsin(np.sqrt(np.clip(worths, 0.0, 1.0)))


def unscaled(values: Array) -> Array:
    """Inverse of :func:`scale`."""
    return np.sin(np.clip(values, 0.0, math.pi / 2)) ** 2


@dataclass(frozen=True)
class Front:
    """Students, and from where on others count.

    Attributes:
        worths: of each, in [0, 1], shape (k,).
        costs: logarithms to base 2, shape (k, c).
        reference: of each cost the largest that counts, shape (c,).
        least: worth from which on a student counts, below ``best``.
        best: up to which it counts the more, see :func:`search.objectives.front.closeness`.
    """

    worths: Array
    costs: Array
    reference: Array
    least: float
    best: float

    def with_students(self, worths: Array, costs: Array) -> Front:
        """With more students."""
        return replace(self, worths=np.r_[self.worths, worths], costs=np.vstack([self.costs, costs]))


def expected_gains(front: Front, costs: Array, means: Array, deviations: Array) -> Array:
    """The expected gain of hypervolume of each of m students whose costs are known, shape (m,).

    One integral over quality, as its :func:`search.objectives.front.closeness`: at each level the volume of
    costs that a student would take from the front, times the probability that it gets there.

    Args:
        front: that is there.
        costs: of the students, logarithms to base 2, shape (m, c).
        means: of their qualities, on the :func:`scale` of the process, shape (m,).
        deviations: of the same, above 0, shape (m,).
    """
    many = costs.shape[1] > 2
    low, high = closeness([front.least, front.best], front.best).tolist()
    steps = np.linspace(low, high, STEPS_OF_MANY if many else LEVELS)
    levels = at_closeness(steps, front.best)
    reached = ndtr((means[:, None] - scale(levels)) / deviations[:, None])
    taken = _taken(front, costs, levels)
    both = reached * taken
    found: Array = (both[:, 1:] + both[:, :-1]).sum(1) * 0.5 * (steps[1] - steps[0])
    return found


def _taken(front: Front, costs: Array, levels: Array) -> Array:
    """At each level the volume that students would take, shape (m, levels)."""
    order = np.argsort(-front.worths, kind="stable")
    worths, known = front.worths[order], front.costs[order]
    if costs.shape[1] > 2:
        worths, known = worths[:STEPS_OF_MANY], known[:STEPS_OF_MANY]
    counts = np.searchsorted(-worths, -levels + 1e-9, side="right")  # so many are at least as good
    found = np.empty((len(costs), len(levels)))
    for count in np.unique(counts):
        members = known[:count]
        left = exclusive(members, costs, front.reference)
        found[:, counts == count] = left[:, None]
    return found


def exclusive(members: Array, costs: Array, reference: Array) -> Array:
    """The volume between each of m points and a reference that no member is below of, shape (m,).

    Slab by slab along the last cost.

    Args:
        members: shape (k, c).
        costs: of the points, shape (m, c).
        reference: shape (c,).
    """
    if costs.shape[1] == 1:
        end = min(float(members.min(initial=math.inf)), float(reference[0]))
        return np.maximum(end - costs[:, 0], 0.0)
    members = members[np.argsort(members[:, -1], kind="stable")]
    own, end = costs[:, -1], float(reference[-1])
    bounds = np.r_[-np.inf, np.minimum(members[:, -1], end), end]
    found = np.zeros(len(costs))
    for count in range(len(members) + 1):
        low, high = bounds[count], bounds[count + 1]
        if high > low:
            thick = np.maximum(high - np.maximum(own, low), 0.0)
            found += thick * exclusive(members[:count, :-1], costs[:, :-1], reference[:-1])
    return found
