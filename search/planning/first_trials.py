"""The first trials of a search that learns from few: a few sizes, and the model chooses the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

from spaces import Context, Space
from spaces.space import METHOD, START, Opened

FEW = 4
"""First trials; as many as there are architectures if these are more, and each method of those chosen."""

WHOLE = 2
"""Of the first trials so many have a trained network as a whole, where there are smaller students too."""

SHARES = (1.0, 0.0, 0.5, 0.75)
"""Of the way from the study's size to the smallest, in turn: depths and widths both come in several values
early, since a model that has seen one depth alone is sure of nothing about the others and leaves them for
long. The study's own size is among them: small ones alone say little of what is near the teacher. Of several
architectures each has one of these sizes."""

SLICES = (0.25, 0.5)
"""The same of slices of a trained network: narrow ones take as long, and on hard tasks few are near it."""

PRECISE = {"bits": 8}
"""In which a network loses next to nothing."""

Point = Mapping[str, Any]


def first_trials(
    space: Space, context: Context, points: Sequence[Point], limited: bool = False
) -> list[dict[str, Any]]:
    """What a search that learns from few begins with: methods that quantize, in sizes that are spread.

    Where slices of a trained network are students, the network as a whole comes first, in few bits and in
    eight. Of all methods that is post-training quantization, whose one short training serves both: so there
    is something to ship early.

    Args:
        space: of the students.
        context: of the sweep.
        points: parameters of the first trials, as :func:`search.planning.limits.fitting_points` gives them.
        limited: whether students have limits, which the network in eight bits may not keep; default no.

    Returns:
        :data:`FEW` of them, and one more where a trained network comes first; where methods were chosen, at
        most as many as ``points``, since those that became the same are one.
    """
    opened, chosen = space.opened(context), space.methods is not None
    quantizing = [point for point in points if opened.defaults[point[METHOD]].quantizes]
    points = points if chosen or not quantizing else quantizing
    cuts = bool(opened.origins[opened.starts[0]].cuts)
    whole = [point for point in points if not _has_size(opened, point)]
    if opened.sizes(opened.starts[0]):  # else there is nothing smaller
        whole = whole[: min(WHOLE, max(len(points) - 1, 1))]
    if cuts:
        points = [*whole, *(point for point in points if point not in whole)]
    shares = cycle(SLICES if cuts else SHARES)
    found: list[dict[str, Any]] = []
    for point in points:
        sized = dict(point) if point in whole else opened.smaller(point, next(shares))
        found += [sized] if sized not in found else []
    if chosen:
        return found
    found = found[: max(FEW, len(opened.fresh))]
    eight = cuts and not limited and not _has_size(opened, found[0])
    return [found[0], *(_precisely(opened, found[0]) if eight else ()), *found[1:]]


def _precisely(opened: Opened, point: Point) -> list[dict[str, Any]]:
    """The same in eight bits, if that is another student that may be."""
    precise, complete = opened.point({**point, **PRECISE})
    return [precise] if complete and precise != point else []


def _has_size(opened: Opened, point: Point) -> bool:
    """Whether the size of its student is searched."""
    start = point.get(START, opened.starts[0])
    return start in opened.fresh and bool(opened.sizes(start))
