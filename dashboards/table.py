"""The table of trials under the front: its columns, its order, its CSV. Every cell is text."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from dashboards.text import (
    cost,
    method_label,
    milliseconds,
    missing,
    number,
    score,
    share,
    size,
    times,
    upper_first,
    whole,
)
from search.units import show_state
from trainables.metrics import Metric, Quality, device_costs

ROWS = 25
"""Rows on one page."""


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        key: of the trials.
        title: above it.
        show: value -> text.
        style: a CSS class; default none.
    """

    key: str
    title: str
    show: Callable[[Any], str]
    style: str = ""


def columns_of(quality: Quality, asked: Sequence[Metric] = ()) -> tuple[Column, ...]:
    """What people compare trials by; those ``asked`` for have a column, too, see :attr:`Sweep.asked`."""
    found = (
        Column("trial_id", "Trial", _text, "text"),
        Column("method", "Method", method_label, "text"),
        Column("bits", "Bits", number),
        Column("bucket_size", "Bucket", whole),
        Column("depth", "Depth", number),
        Column("width", "Width", number),
        Column("sparsity", "Sparsity", share),
        Column("packed_bytes", "Size", size, "main"),
        Column("compression_ratio", "Smaller", times),
        Column("onnx_bytes", "In ONNX", size),
        Column("ram_bytes", "Memory", size),
        Column(quality.validation, f"Validation {quality.label}", lambda value: score(quality, value)),
        Column(quality.name, f"Test {quality.label}", lambda value: score(quality, value)),
        Column("latency_ms", "Latency, ms", milliseconds),
        *(Column(each.name, _title(each), number) for each in device_costs(quality)),
    )
    shown = {column.key for column in found}
    further = (Column(c.name, upper_first(c.label), partial(cost, c)) for c in asked if c.name not in shown)
    return (*found, *further, Column("state", "State", _state, "text"))


def _title(metric: Metric) -> str:
    label = upper_first(metric.label)
    return f"{label}, {metric.unit}" if metric.unit else label


def arranged(trials: pd.DataFrame, key: str, descending: bool) -> pd.DataFrame:
    """Trials sorted by a column; those without a value last, whichever way.

    A ``key`` that is no column leaves their order.
    """
    if key not in trials.columns:
        return trials
    return trials.sort_values(key, ascending=not descending, na_position="last", kind="stable")


def page_of(trials: pd.DataFrame, number: int) -> tuple[pd.DataFrame, int, int]:
    """The rows of the page ``number`` (from 0; moved into what there is), that number, and how many there
    are."""
    pages = max(-(-len(trials) // ROWS), 1)
    chosen = min(max(number, 0), pages - 1)
    return trials.iloc[chosen * ROWS : (chosen + 1) * ROWS], chosen, pages


def to_csv(trials: pd.DataFrame) -> str:
    """All columns of the trials, as measured; empty cells where nothing was.

    Text that a spreadsheet would take for a formula is preceded by an apostrophe.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(trials.columns)
    for row in trials.itertuples(index=False):
        writer.writerow([_cell(value) for value in row])
    return file.getvalue()


def _cell(value: Any) -> Any:
    if missing(value):
        return ""
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    if isinstance(value, str) and value[:1] in "=+-@\t\r":
        return f"'{value}"
    return value


def _text(value: Any) -> str:
    return "" if missing(value) else str(value)


def _state(value: Any) -> str:
    return show_state(_text(value))
