"""What is in a packed file, tensor by tensor: a table in which no name and no size is cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from rayduce.commands.console import escaped, whole_line
from rayduce.commands.narrow import GAP, Column, fitting, folded

LEFT = ("shape", "codec")
"""Columns of words, which stand at the left."""


def contents_table(title: str, rows: Sequence[dict[str, Any]], width: int) -> Table:
    """As wide as the terminal: where there is no room, entropy goes first, then zeros, bits and shapes.

    Args:
        title: above it.
        rows: of :func:`trainables.shipping.packed_file.describe`.
        width: columns of the terminal.
    """
    total, entropy = sum(row["bytes"] for row in rows), sum(row["entropy_bytes"] for row in rows)
    feet = {"bytes": f"{total:,}", "entropy bytes": f"{entropy:,.0f}", "share": "100.0 %"}
    columns = [
        _column("shape", rows, _shape, 4),
        _column("codec", rows, lambda row: str(row["codec"])),
        _column("bits", rows, lambda row: "" if row["bits"] is None else str(row["bits"]), 3),
        _column("sparsity", rows, _zeros, 2),
        _column("bytes", rows, lambda row: f"{row['bytes']:,}"),
        _column("entropy bytes", rows, lambda row: f"{row['entropy_bytes']:,.0f}", 1),
        _column("share", rows, lambda row: f"{100 * row['share']:.1f} %"),
    ]
    names = [escaped(row["name"]) for row in rows]
    kept = fitting(columns, names, width)
    room = max(width - sum(each.width + GAP for each in kept), 10)
    table = Table(
        title=whole_line(title),
        title_justify="left",
        box=None,
        padding=(0, GAP, 0, 0),
        pad_edge=False,
        show_footer=True,
    )
    table.add_column("name", "total", overflow="fold")
    for each in kept:
        justify: Any = "left" if each.head in LEFT else "right"
        table.add_column(each.head, feet.get(each.head, ""), justify=justify, no_wrap=True)
    for place, name in enumerate(names):
        table.add_row(folded(name, room), *(each.cells[place] for each in kept))
    return table


def _column(head: str, rows: Sequence[dict[str, Any]], show: Any, goes: int = 0) -> Column:
    return Column(head, [show(row) for row in rows], goes)


def _shape(row: dict[str, Any]) -> str:
    return "" if row["shape"] is None else "x".join(map(str, row["shape"])) or "scalar"


def _zeros(row: dict[str, Any]) -> str:
    return "" if row["sparsity"] is None else f"{100 * row['sparsity']:.1f} %"
