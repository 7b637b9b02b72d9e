"""Fronts as tables, and commands to type next."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from rayduce.commands.arguments import (
    DEFAULT_STORE,
)
from rayduce.commands.console import (
    escaped,
)
from search.objectives.costs import show_value
from search.objectives.mark import MARK_NAME, RuntimeMark
from search.units import show_bytes, show_number
from trainables.foreign import shown
from trainables.metrics import Metric, Quality, device_costs

LONGEST_NAME = 80
"""Letters of a student's name in a table; a name that somebody gave a run of MLflow may have any number."""

MOST_OF_DEVICE = 2
"""Numbers of a device for which a front has room, the first that its command gives."""

if TYPE_CHECKING:
    from search.store.store import Store
    from search.store.sweep import Sweep


SHORT_UNIT = 1
"""Letters of a unit that stands beside every value of a column: the table has room in 80 of a terminal."""

ROOM_FOR_MEMORY = 100
"""Columns of a terminal from which on a front has room for the memory of activations."""


def where_store_is(store: Path, tracking_uri: str | None, before: str = "") -> str:
    """What a command needs to be told to find this store; nothing for the one it would look for by itself."""
    from search.store.mlflow_client import masked
    from search.store.store import own_database

    words = [] if store.absolute() == DEFAULT_STORE.absolute() else [f"--store {quoted(store)}"]
    if tracking_uri is not None and tracking_uri != own_database(store.absolute()):
        words.append(f"--tracking-uri {shlex.quote(masked(tracking_uri))}")
    return " ".join([before, *words]) if words else ""


def quoted(path: Path) -> str:
    """``path`` as a shell takes it, on one line."""
    return shlex.quote(shown(str(path), 1000))


def front_rows(opened: Store, found: Sweep) -> list[dict[str, Any]]:
    """The front's trials, smallest first, each with where its packed file lies and the mark of its sweep."""
    from search.store.frames import records

    rows = records(opened.front(found.name))
    mark = found.mark.metrics
    return [
        {**row, **mark, "packed_file": opened.artifact_location(row["run_id"], "student.rdz")} for row in rows
    ]


def front_table(
    rows: list[dict[str, Any]], quality: Quality, title: str, width: int = 80, asked: Sequence[Metric] = ()
) -> Table:
    """In 80 columns; only a student's name folds if there is no room: a number that is cut says nothing.

    Args:
        rows: of :func:`front_rows`.
        quality: of the sweep.
        title: above it.
        width: columns of the terminal; from 100 on the memory of activations is shown, too.
        asked: costs that have a column in any terminal, see :attr:`Sweep.asked`.
    """
    wide = width >= ROOM_FOR_MEMORY or any(each.name == "ram_bytes" for each in asked)
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("run", no_wrap=True)
    table.add_column("student", overflow="fold")
    device = device_costs(quality)[:MOST_OF_DEVICE]
    shown_anyway = {"packed_bytes", "onnx_bytes", "ram_bytes", "latency_ms", *(each.name for each in device)}
    further = [each for each in asked if each.name not in shown_anyway]
    sizes = ("packed", "ratio", "ONNX", *(["memory"] if wide else []))
    costs = ("latency", *map(_head, device), *(_wrapped(each.label) for each in further))
    for name in (quality_head(quality), "validation", *sizes, *costs):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        latency = row["latency_ms"]
        table.add_row(
            escaped(row["run_id"][:8]),
            escaped(row["name"], LONGEST_NAME),
            score_text(quality, row[quality.name]),
            score_text(quality, row[quality.validation]),
            show_bytes(row["packed_bytes"]),
            f"{row['compression_ratio']:.1f}x",
            _size(row["onnx_bytes"]),
            *([_size(row["ram_bytes"])] if wide else []),
            "-" if latency is None else f"{latency:.3f} ms",
            *("-" if row[cost.name] is None else show_number(row[cost.name]) for cost in device),
            *("-" if row[cost.name] is None else show_value(cost, row[cost.name]) for cost in further),
        )
    return table


def _size(value: float | None) -> str:
    return "-" if value is None else show_bytes(value)


def _head(cost: Metric) -> str:
    """A narrow heading of a column of numbers of a device, with their unit."""
    return _wrapped(f"{cost.label}, {cost.unit}" if cost.unit else cost.label)


def _wrapped(text: str) -> str:
    return "\n".join(escaped(line) for line in textwrap.wrap(text, 12))


def quality_head(quality: Quality) -> str:
    """A narrow heading of a column of :func:`score_text`, with a unit that is too long for every cell."""
    text = quality.label if len(quality.unit) <= SHORT_UNIT else quality.heading
    return "\n".join(escaped(line) for line in textwrap.wrap(text, 12))


def score_text(quality: Quality, value: float | None) -> str:
    """A value in a column, ``-`` where there is none."""
    if value is None:
        return "-"
    return quality.text(value) if len(quality.unit) <= SHORT_UNIT else quality.number(quality.points(value))


def mark_line(mark: RuntimeMark, quality: Quality) -> str:
    """What ONNX Runtime's own int8 of the teacher is, in one line; empty if nothing is known."""
    told = mark.text(quality)
    return f"{MARK_NAME}: {escaped(told)}" if told else ""
