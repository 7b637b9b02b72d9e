"""Fronts as tables, and commands to type next."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rich.table import Table

from rayduce.commands.arguments import (
    DEFAULT_STORE,
)
from rayduce.commands.console import (
    escaped,
)
from rayduce.commands.narrow import NONE, Column, table_of
from search.objectives.costs import show_value
from search.objectives.mark import MARK_NAME, RuntimeMark
from search.units import show_bytes, show_number
from trainables.foreign import shown
from trainables.metrics import Metric, Quality, device_costs

LONGEST_NAME = 80
"""Letters of a student's name in a table; a name that somebody gave a run of MLflow may have any number."""

MOST_OF_DEVICE = 2
"""Numbers of a device for which a front has room, the first that its command gives."""

ALIKE = "\N{ALMOST EQUAL TO}"
"""Stands behind a student that cannot be told from the next smaller one."""

if TYPE_CHECKING:
    from search.store.store import Store
    from search.store.sweep import Sweep


SHORT_UNIT = 1
"""Letters of a unit that stands beside every value of a column: the table has room in 80 of a terminal."""

ROOM_FOR_INTERVALS = 110
"""Columns of a terminal from which on what is lost has both ends of its interval, and not the worse alone."""


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
    """The front's trials, smallest first, each with where its packed file lies and the mark of its sweep.

    ``told_from_smaller`` is whether McNemar's test tells it from the next smaller one.
    """
    from search.store.answers import answers_of, not_told_apart
    from search.store.frames import records

    rows = records(opened.front(found.name))
    mark = found.mark.metrics
    runs = [row["run_id"] for row in rows]
    alike = not_told_apart(partial(answers_of, opened), found.run_id, runs)
    return [
        {
            **row,
            **mark,
            "told_from_smaller": row["run_id"] not in alike,
            "packed_file": opened.artifact_location(row["run_id"], "student.rdz"),
        }
        for row in rows
    ]


def front_table(
    rows: list[dict[str, Any]],
    quality: Quality,
    title: str,
    width: int = 80,
    asked: Sequence[Metric] = (),
    teacher: Mapping[str, float] = MappingProxyType({}),
) -> Table:
    """As wide as the terminal; a number that is cut says nothing, so columns go where there is no room.

    First latency goes, then the ratio, then what is lost, then memory and the size in ONNX; what the sweep
    was asked to keep low stays.

    Args:
        rows: of :func:`front_rows`.
        quality: of the sweep.
        title: above it.
        width: columns of the terminal.
        asked: costs that have a column in any terminal, see :attr:`Sweep.asked`.
        teacher: what is known of the teacher, for what students lose to it; default nothing.
    """
    wanted = {each.name for each in asked}
    device = device_costs(quality)[:MOST_OF_DEVICE]
    shown_anyway = {"packed_bytes", "onnx_bytes", "ram_bytes", "latency_ms", *(each.name for each in device)}
    latency = [_none_or(row["latency_ms"], lambda value: f"{value:.3f} ms") for row in rows]
    columns = [
        _column(quality_head(quality), rows, quality.name, lambda value: score_text(quality, value)),
        _column("validation", rows, quality.validation, lambda value: score_text(quality, value)),
        *_lost(rows, quality, teacher, width),
        _column("packed", rows, "packed_bytes", show_bytes),
        _column("ratio", rows, "compression_ratio", lambda value: f"{value:.1f}x", goes=2),
        _column("ONNX", rows, "onnx_bytes", show_bytes, goes=0 if "onnx_bytes" in wanted else 5),
        _column("memory", rows, "ram_bytes", show_bytes, goes=0 if "ram_bytes" in wanted else 4),
        Column("latency", latency, goes=0 if "latency_ms" in wanted else 1),
        *(_column(_head(cost), rows, cost.name, show_number) for cost in device),
        *(
            _column(_wrapped(cost.label), rows, cost.name, partial(show_value, cost))
            for cost in asked
            if cost.name not in shown_anyway
        ),
    ]
    runs = Column("run", [escaped(row["run_id"][:8]) for row in rows])
    names = Column("student", [escaped(row["name"], LONGEST_NAME) + _alike(row) for row in rows])
    return table_of(title, runs, names, columns, width)


def _alike(row: Mapping[str, Any]) -> str:
    return "" if row.get("told_from_smaller", True) else f" {ALIKE}"


def _column(
    head: str, rows: list[dict[str, Any]], name: str, show: Callable[[Any], str], goes: int = 0
) -> Column:
    return Column(head, [_none_or(row[name], show) for row in rows], goes)


def _none_or(value: Any, show: Callable[[Any], str]) -> str:
    return NONE if value is None else show(value)


def _lost(
    rows: list[dict[str, Any]], quality: Quality, teacher: Mapping[str, float], width: int
) -> list[Column]:
    """What students lose to the teacher, on the test split where it was measured; with intervals if known."""
    from search.objectives.on_split import reported

    found = [reported(row, teacher, quality) for row in rows]
    if not any(each is not None and each.lost_between is not None for each in found):
        return []
    if width >= ROOM_FOR_INTERVALS:
        return [Column("lost, and\n95 % sure", [NONE if e is None else e.lost_cell() for e in found], goes=3)]
    most = [NONE if e is None or e.lost_between is None else e.most_text() for e in found]
    return [Column("lost, at\nmost", most, goes=3)]


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
        return NONE
    return quality.text(value) if len(quality.unit) <= SHORT_UNIT else quality.number(quality.points(value))


def mark_line(mark: RuntimeMark, quality: Quality) -> str:
    """What ONNX Runtime's own int8 of the teacher is, in one line; empty if nothing is known."""
    told = mark.text(quality)
    return f"{MARK_NAME}: {escaped(told)}" if told else ""


def families_line(rows: list[dict[str, Any]], size: str) -> str:
    """Which architecture is on the front at which ``size``, a metric; empty if it is of one alone.

    Args:
        rows: of :func:`front_rows`.
        size: by which the rows are sorted, see :attr:`Sweep.size`.
    """
    from search.objectives.families import families_text

    told = families_text([(row["model"], row[size]) for row in rows if row["model"] is not None])
    return f"{escaped(told)}." if told else ""


def table_notes(rows: list[dict[str, Any]], found: Sweep) -> str:
    """What a front's table means where it says how sure something is; empty if it does not."""
    from search.objectives.on_split import SURE, reported

    told = []
    if any(not row["told_from_smaller"] for row in rows):
        told.append(f"{ALIKE}: cannot be told from the next smaller one (McNemar's test at 5 %).")
    splits = (reported(row, found.teacher, found.quality) for row in rows)
    known = {each.split for each in splits if each is not None and each.lost_between is not None}
    if known:
        step = found.quality.step()
        told.append(f"Lost: {step} to the teacher on {' and '.join(sorted(known))}, {SURE} sure.")
    return " ".join(told)
