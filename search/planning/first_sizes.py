"""Sizes of the first trials of a search that learns from few: small ones teach as much and cost less."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spaces import Context, Space
from spaces.space import START

SHARES = (1.0, 0.5, 0.75, 0.25)
"""Of the way from the study's size to the smallest, in turn: depths and widths both come in several values
early,
since a model that has seen one depth alone is sure of nothing about the others and leaves them for long."""

WHOLE = 3
"""Of the first trials that begin with the whole of a trained network, whose slices may be students too, one
in so many stays so: what they teach is said by few, and what slices do in low precision by none."""


def spread_sizes(space: Space, context: Context, points: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """First trials with their students' sizes spread between the smallest and the study's.

    Students that begin in another way than the first, such as with the teacher's weights, keep their size;
    but where slices of the teacher are the first, most become such, and one that does not is the first trial:
    slices take as long however narrow they are, and the network as it is in few bits is surely near it.

    Args:
        space: of the students.
        context: of the sweep.
        points: parameters of the first trials, as :func:`search.planning.limits.fitting_points` gives them.

    Returns:
        As many points or, where two became the same, fewer.
    """
    opened = space.opened(context)
    slices = opened.origins[opened.starts[0]].cuts
    found: list[dict[str, Any]] = []
    whole = moved = 0
    for point in points:
        first = point.get(START, opened.starts[0]) == opened.starts[0]
        whole += not first
        spreads = first or (slices and whole % WHOLE != 1)
        spread = opened.smaller(point, SHARES[moved % len(SHARES)]) if spreads else dict(point)
        moved += spreads
        if spread not in found:
            found.insert(0 if slices and not first and whole == 1 else len(found), spread)
    return found
