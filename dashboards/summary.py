"""What the pages say of a sweep besides the figure: headline facts, cards and the table of the front."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import pandas as pd

from dashboards.figures import Teacher, method_colours
from dashboards.text import count, duration, method_label, missing, number, percent, points, size, times
from search.store import Sweep

TOLERANCE = 0.01  # one point of quality, the loss that the second card allows


class Card(NamedTuple):
    """One headline number."""

    label: str
    value: str
    note: str


class Column(NamedTuple):
    """One column of the table of the front."""

    key: str
    title: str
    style: str = ""


class Failure(NamedTuple):
    """A trial that failed, and why."""

    name: str
    reason: str


CAPTION = "Each mark is one student. Full colour: on the front, so no other is both smaller and better."
FOOTNOTE = (
    "1 kB = 1000 bytes. Sizes are those of the packed file, everything included; smaller: the teacher's "
    "full-precision file over the packed one. The figure shows the validation split, by which the front was "
    "chosen; the test split is measured once, for the members of the front. Latency: ONNX Runtime, one "
    "thread, batch of 1, 10th percentile."
)


def teacher_of(sweep: Sweep) -> Teacher | None:
    """The teacher's mark in the figure; None while it is not measured."""
    if missing(sweep.teacher_validation):
        return None
    return Teacher(sweep.teacher_validation, sweep.teacher_bytes)


def facts(sweep: Sweep) -> str:
    """One line under the title: study, date, duration."""
    parts = [f"Study {sweep.study}", f"{sweep.start_time:%-d %B %Y, %H:%M} UTC", duration(sweep.seconds)]
    return " · ".join(part for part in parts if part)


def cards(trials: pd.DataFrame, sweep: Sweep) -> list[Card]:
    """Teacher, best student within a point of it, front, trials."""
    return [
        _teacher_card(sweep),
        _best_card(trials, sweep),
        _front_card(trials),
        _trials_card(trials),
    ]


def columns(metric: str) -> list[Column]:
    """The table's columns; ``style`` is a CSS class."""
    label = metric.replace("_", " ")
    return [
        Column("name", "Student", "text"),
        Column("bits", "Bits"),
        Column("bucket_size", "Bucket"),
        Column("depth", "Depth"),
        Column("width", "Width"),
        Column("sparsity", "Sparsity"),
        Column("size", "Size", "main"),
        Column("ratio", "Smaller"),
        Column("validation", f"Validation {label}"),
        Column("test", f"Test {label}"),
        Column("loss", "To teacher, points"),
        Column("latency", "Latency, ms"),
        Column("command", "Take it away", "text"),
    ]


def front_rows(trials: pd.DataFrame, sweep: Sweep) -> list[dict[str, str]]:
    """The members of the front as text, smallest file first, and each one's ``colour`` in the figure."""
    colours = method_colours([method_label(method) for method in trials["method"]])
    front = trials[trials["front"]].sort_values("packed_bytes")
    return [
        {
            "name": _text(row["name"]),
            "method": method_label(row["method"]),
            "bits": _text(row["bits"]),
            "bucket_size": _text(row["bucket_size"]),
            "depth": _text(row["depth"]),
            "width": "" if missing(row["width"]) else number(row["width"]),
            "sparsity": percent(row["sparsity"], 0),
            "size": size(row["packed_bytes"]),
            "ratio": times(row["compression_ratio"]),
            "validation": percent(row[f"validation_{sweep.metric}"]),
            "test": percent(row[sweep.metric]),
            "loss": points(_gain(row, sweep)[0]),
            "latency": "" if missing(row["latency_ms"]) else f"{row['latency_ms']:.3f}",
            "command": f"rayduce export {row['run_id']} student.rdz",
            "colour": colours[method_label(row["method"])],
        }
        for row in front.to_dict("records")
    ]


def failures(trials: pd.DataFrame) -> list[Failure]:
    """The trials that failed, in the order they were started."""
    failed = trials[(trials["state"] == "failed").to_numpy(dtype=bool, na_value=False)]
    return [
        Failure(_text(name), _text(reason) or "no reason was recorded")
        for name, reason in zip(failed["name"], failed["reason"], strict=True)
    ]


def _teacher_card(sweep: Sweep) -> Card:
    quality, split = sweep.teacher_quality, "test"
    if missing(quality):
        quality, split = sweep.teacher_validation, "validation"
    if missing(quality):
        return Card("Teacher", "\N{EN DASH}", "not measured yet")
    label = sweep.metric.replace("_", " ")
    note = (
        f"{split} {label}, {size(sweep.teacher_bytes)}" if size(sweep.teacher_bytes) else f"{split} {label}"
    )
    return Card("Teacher, full precision", percent(quality), note)


def _best_card(trials: pd.DataFrame, sweep: Sweep) -> Card:
    label = "Smallest within 1 point on validation"
    rows = trials[trials["front"]].sort_values("packed_bytes").to_dict("records")
    # Chosen on the validation split, reported on the test split where that was measured.
    quality, teacher = f"validation_{sweep.metric}", sweep.teacher_validation
    near = [
        row
        for row in rows
        if not missing(row[quality]) and round(float(row[quality]) - teacher, 9) >= -TOLERANCE
    ]
    if not near:
        return Card(label, "\N{EN DASH}", "none so far")
    ratio, (gain, split) = times(near[0]["compression_ratio"]), _gain(near[0], sweep)
    note = f"{size(near[0]['packed_bytes'])}, {points(gain)} points on {split}"
    return Card(label, f"{ratio} smaller" if ratio else size(near[0]["packed_bytes"]), note)


def _front_card(trials: pd.DataFrame) -> Card:
    front = trials[trials["front"]]
    methods = front["method"].nunique()
    note = f"over {count(methods, 'method')}" if len(front) else "no finished trial yet"
    return Card("On the front", count(len(front), "student"), note)


def _trials_card(trials: pd.DataFrame) -> Card:
    states = trials["state"].value_counts()
    parts = [f"{states[s]} {s}" for s in ("finished", "running", "stopped", "failed") if states.get(s, 0)]
    return Card("Trials", str(len(trials)), ", ".join(parts) or "none started yet")


def _gain(row: dict[Any, Any], sweep: Sweep) -> tuple[float, str]:
    """Quality over the teacher's, and on which split: test if both have it, else validation; or NaN."""
    for split, own, teacher in (
        ("test", row[sweep.metric], sweep.teacher_quality),
        ("validation", row[f"validation_{sweep.metric}"], sweep.teacher_validation),
    ):
        if not missing(own) and not missing(teacher):
            # Exactly one point lost must not fail by a rounding error.
            return round(float(own) - float(teacher), 9), split
    return math.nan, ""


def _text(value: Any) -> str:
    return "" if missing(value) else str(value)
