"""The first trials of a search that learns from few: some small students, and the model chooses the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spaces import Context, Space
from spaces.space import METHOD, START, Opened

FEW = 4
"""First trials; more where there are more architectures, or methods were chosen, of which each is tried."""

WHOLE = 2
"""Of the first trials so many have a trained network as a whole, where its slices may be students too."""

SHARES = (1.0, 0.5, 0.75, 0.25)
"""Of the way from the study's size to the smallest, in turn: depths and widths both come in several values
early, since a model that has seen one depth alone is sure of nothing about the others and leaves them for
long."""

SLICES = (0.25, 0.5)
"""The same of slices of a trained network: narrow ones take as long, and on hard tasks few are near it."""

PRECISE = {"bits": 8}
"""In which a network loses next to nothing."""

Point = Mapping[str, Any]


def first_trials(space: Space, context: Context, points: Sequence[Point]) -> list[dict[str, Any]]:
    """What a search that learns from few begins with: methods that quantize, in sizes that are spread.

    Students that begin with a whole network keep its size. Where slices of a trained network are students,
    the network itself comes first, in few bits and in eight: that takes seconds where nothing is trained, and
    then there is something to ship.

    Args:
        space: of the students.
        context: of the sweep.
        points: parameters of the first trials, as :func:`search.planning.limits.fitting_points` gives them.

    Returns:
        :data:`FEW` of them or, where methods were chosen, as many as ``points``; those that became the same
        are one.
    """
    opened, chosen = space.opened(context), space.methods is not None
    quantizing = [point for point in points if opened.defaults[point[METHOD]].quantizes]
    points = points if chosen or not quantizing else quantizing
    network = opened.origins[opened.starts[0]].cuts
    found = _of_network(opened, points) if network else _spread(opened, points)
    if chosen:
        return found
    first, *others = found[: max(FEW, len(opened.fresh))]
    return [first, *([] if _has_size(opened, first) else _precisely(opened, first)), *others]


def _of_network(opened: Opened, points: Sequence[Point]) -> list[dict[str, Any]]:
    """The network itself, then slices of it."""
    whole = [point for point in points if not _has_size(opened, point)][:WHOLE]
    found = [dict(point) for point in whole]
    for place, point in enumerate(point for point in points if point not in whole):
        smaller = opened.smaller(point, SLICES[place % len(SLICES)])
        found += [smaller] if smaller not in found else []
    return found


def _precisely(opened: Opened, point: Point) -> list[dict[str, Any]]:
    """The same in eight bits, if that is another student that may be."""
    precise, complete = opened.point({**point, **PRECISE})
    return [precise] if complete and precise != point else []


def _spread(opened: Opened, points: Sequence[Point]) -> list[dict[str, Any]]:
    """Students whose sizes are their study's, moved toward the smallest."""
    found: list[dict[str, Any]] = []
    moved = 0
    for point in points:
        sized = _has_size(opened, point)
        spread = opened.smaller(point, SHARES[moved % len(SHARES)]) if sized else dict(point)
        moved += sized
        found += [spread] if spread not in found else []
    return found


def _has_size(opened: Opened, point: Point) -> bool:
    """Whether the size of its student is searched."""
    return point.get(START, opened.starts[0]) in opened.fresh
