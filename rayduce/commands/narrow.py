"""Tables that fit a terminal: names fold at their hyphens, and columns that matter least go first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

LEAST_NAME = 15
"""Columns of a terminal that a name has at least."""
GAP = 1
NONE = "-"
"""Stands where a row has no number."""


@dataclass(frozen=True)
class Column:
    """One column of numbers.

    Attributes:
        head: above it; may have several lines.
        cells: of each row.
        goes: which goes first where there is no room: the lowest number; 0 (default) never goes.
    """

    head: str
    cells: Sequence[str]
    goes: int = 0

    @property
    def width(self) -> int:
        """Of its widest line."""
        return max(len(line) for text in (self.head, *self.cells) for line in text.split("\n"))


def fitting(columns: Sequence[Column], names: Sequence[str], width: int) -> list[Column]:
    """Those of ``columns`` for which a terminal of so many columns has room, beside a column of ``names``."""
    kept = list(columns)
    while _width(kept, names) > width:
        going = [each for each in kept if each.goes]
        if not going:
            break
        kept.remove(min(going, key=lambda each: each.goes))
    return kept


def _width(columns: Sequence[Column], names: Sequence[str]) -> int:
    """Columns of a terminal that so many ``columns`` need, beside one of ``names``."""
    least = min(max(map(len, names), default=0), LEAST_NAME)
    return sum(each.width + GAP for each in columns) + least


def table_of(title: str, first: Column, names: Column, columns: Sequence[Column], width: int) -> Table:
    """A table without lines: ``first``, ``names``, which may fold, and as many ``columns`` as fit.

    A column that may go does so if no row has a number there; those there was no room for are told below.

    Args:
        title: above it, with the console's markup.
        first: what rows are called by; it stays whole.
        names: fold at hyphens.
        columns: numbers, none of which is cut.
        width: columns of the terminal.
    """
    left = width - first.width - GAP
    told = [each for each in columns if not each.goes or {*each.cells} != {NONE}]
    kept = fitting(told, names.cells, left)
    room = max(left - sum(each.width + GAP for each in kept), LEAST_NAME)
    table = Table(title=title, title_justify="left", box=None, padding=(0, GAP, 0, 0), pad_edge=False)
    table.add_column(first.head, no_wrap=True)
    table.add_column(names.head, overflow="fold")
    for each in kept:
        table.add_column(each.head, justify="right", no_wrap=True)
    if out_of_room := [each.head.replace("\n", " ") for each in told if each not in kept]:
        needed = first.width + GAP + _width(told, names.cells)
        table.caption = f"No room for {', '.join(out_of_room)}: see all in {needed} columns, or by | cat."
        table.caption_justify = "left"
    for row, name in enumerate(names.cells):
        table.add_row(first.cells[row], folded(name, room), *(each.cells[row] for each in kept))
    return table


def folded(name: str, width: int) -> str:
    """``name`` in lines of so many letters, broken behind a hyphen or before a dot."""
    lines, line = [], ""
    for part in _parts(name):
        if line and len(line) + len(part) > width:
            lines.append(line)
            line = ""
        line += part
        while len(line) > width:
            lines.append(line[:width])
            line = line[width:]
    return "\n".join([*lines, line] if line else lines)


def _parts(name: str) -> list[str]:
    """Pieces of a name that stay whole."""
    # A dot of a number stays where it is: w0.35; one between words, as in names of tensors, begins a line.
    return [part for part in re.split(r"(?<=[-/_])|(?=\.[A-Za-z])", name) if part]
