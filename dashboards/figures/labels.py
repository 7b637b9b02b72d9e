"""Where the labels of a figure's marks have room: inside its edges, and not over one another."""

from __future__ import annotations

import math
from collections.abc import Iterator

from dashboards.axes import Axis

WIDE, TALL = 240.0, 300.0
"""Pixels of a plot on a phone. In a larger one labels take a smaller part of it, so they fit there, too."""
LETTER, LINE = 6.4, 15.0
"""Pixels of a letter and of a line of a label."""
BESIDE = 30.0
"""Pixels that a label may stand out on the right, where figures have a margin."""

Box = tuple[float, float, float, float]
"""Left, right, bottom, top in pixels."""


class Labels:
    """Chooses sides for labels, one after the other.

    Args:
        x: the horizontal axis.
        across: what stands at its left and at its right end; logarithms to base 10 on a logarithmic axis.
        y: the vertical axis.
        up: what stands at its lower and at its upper end, likewise.
    """

    def __init__(self, x: Axis, across: tuple[float, float], y: Axis, up: tuple[float, float]) -> None:
        self._x, self._across = x, across
        self._y, self._up = y, up
        self._taken: list[Box] = []

    def keep_free(self, x: float, y: float, pixels: float) -> None:
        """No label is to stand over the mark of that size; to be told of all before the first label."""
        at = self._at(x, y)
        self._taken.append((at[0] - pixels / 2, at[0] + pixels / 2, at[1] - pixels / 2, at[1] + pixels / 2))

    def side(self, x: float, y: float, pixels: float, text: str, wanted: str) -> str:
        """The side of a mark for its label, as Plotly says it; ``wanted`` if there is room.

        Where there is room on no side it is the first that is inside the figure.

        Args:
            x: of the mark.
            y: likewise.
            pixels: its size.
            text: the label.
            wanted: such as ``top center``.
        """
        boxes = [(side, self._box(x, y, pixels, text, side)) for side in _sides(wanted)]
        inside = [each for each in boxes if _is_inside(each[1])]
        free = [each for each in inside if not any(_meet(each[1], other) for other in self._taken)]
        side, box = next(iter([*free, *inside, *boxes]))
        self._taken.append(box)
        return side

    def _at(self, x: float, y: float) -> tuple[float, float]:
        return WIDE * _share(x, self._x, self._across), TALL * _share(y, self._y, self._up)

    def _box(self, x: float, y: float, pixels: float, text: str, side: str) -> Box:
        (left, bottom), (vertical, horizontal) = self._at(x, y), side.split()
        length = LETTER * len(text)
        left -= {"left": length + pixels / 2, "center": length / 2, "right": -pixels / 2}[horizontal]
        bottom -= {"bottom": LINE + pixels / 2, "middle": LINE / 2, "top": -pixels / 2}[vertical]
        return left, left + length, bottom, bottom + LINE


def _share(value: float, axis: Axis, ends: tuple[float, float]) -> float:
    """How far along the axis a value stands, from 0 to 1 inside the figure."""
    value = math.log10(value) if axis.log else value
    return (value - ends[0]) / (ends[1] - ends[0])


def _sides(wanted: str) -> Iterator[str]:
    """All sides, ``wanted`` first, then those most like it."""
    vertical, horizontal = wanted.split()
    other = "bottom" if vertical == "top" else "top"
    for height in (vertical, other):
        yield from (f"{height} {across}" for across in dict.fromkeys((horizontal, "center", "left", "right")))
    yield from ("middle left", "middle right")


def _is_inside(box: Box) -> bool:
    left, right, bottom, top = box
    return left >= 0 and right <= WIDE + BESIDE and bottom >= 0 and top <= TALL


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[1] and other[0] < one[1] and one[2] < other[3] and other[2] < one[3]
