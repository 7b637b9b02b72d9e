"""What the pages say of a sweep besides the figure: headline facts, cards and the table of the front."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any, NamedTuple

import pandas as pd

from dashboards.marks import colour_of, places_of
from dashboards.text import (
    cost,
    duration,
    method_label,
    method_labels,
    milliseconds,
    missing,
    number,
    score,
    share,
    size,
    times,
    upper_first,
)
from dashboards.theme import LIGHT, Theme
from search.objectives.budget import Budget
from search.objectives.certainty import VALIDATION, has_intervals, samples_of
from search.objectives.choosing import choose
from search.objectives.costs import PACKED
from search.objectives.families import families_text
from search.objectives.mark import MARK_NAME
from search.objectives.on_split import SURE, no_interval, on_split, reported, value_interval
from search.store.frames import drawn
from search.store.sweep import Sweep
from search.units import count, show_state
from trainables.metrics import Metric, Quality, device_costs

TOLERANCE = 1.0  # points of quality, the loss that the second card allows


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


_CAPTION = (
    "Filled: students; in full colour on the front, so no other is both smaller and better. "
    "Hollow: those that ended early."
)
_FOOTNOTE = (
    "1 kB = 1000 bytes. Sizes are those of the packed file, everything included; smaller: the teacher's "
    "full-precision file over the packed one. The figure shows the validation split, by which the front was "
    "chosen; the test split is measured once, for the members of the front. Latency: ONNX Runtime, one "
    "thread, batch of 1, 10th percentile."
)


def caption(sweep: Sweep) -> str:
    """How the figure is read."""
    sure = has_intervals(sweep.teacher, sweep.quality, VALIDATION)
    return f"{_CAPTION} Whiskers: {SURE} intervals on validation." if sure else _CAPTION


def footnote(sweep: Sweep) -> str:
    """What the numbers mean, and how those were computed that mean nothing without."""
    signed = [each for each in sweep.quality.reported if each.name in sweep.signatures]
    told = (f"{each.label}: {each.meaning} {sweep.signatures[each.name]}." for each in signed)
    aims = [each.label for each in sweep.asked if each.name in sweep.costs]
    several = (
        f"The front is of {sweep.quality.label} and {', '.join(aims)}: on two axes alone, some of it may "
    )
    several += "look beaten."
    mark = sweep.mark.text(sweep.quality)
    known = missing(sweep.teacher_validation) or has_intervals(sweep.teacher, sweep.quality, VALIDATION)
    unsure = [] if known else [f"{no_interval(sweep.quality)}."]
    notes = [*unsure, *([several] if len(aims) > 1 else []), *([f"{MARK_NAME}: {mark}."] if mark else [])]
    return " ".join([_FOOTNOTE, *notes, *told])


def facts(sweep: Sweep) -> str:
    """One line under the title: study, date, duration."""
    parts = [f"Study {sweep.study}", f"{sweep.start_time:%-d %B %Y, %H:%M} UTC", duration(sweep.seconds)]
    return " · ".join(part for part in parts if part)


def cards(trials: pd.DataFrame, sweep: Sweep, alike: Container[str] = ()) -> list[Card]:
    """Teacher, best student within a point of it, front, trials.

    Args:
        trials: of the sweep.
        sweep: theirs.
        alike: run ids of students that cannot be told from the next smaller one; default none.
    """
    return [
        _teacher_card(sweep),
        _best_card(trials, sweep),
        _front_card(trials, sweep, alike),
        _trials_card(trials),
    ]


def columns(quality: Quality, asked: Sequence[Metric] = ()) -> list[Column]:
    """The table's columns; what is ``asked`` for has one, too, see :attr:`Sweep.asked`."""
    return [
        Column("name", "Student", "text"),
        Column("bits", "Bits"),
        Column("bucket_size", "Bucket"),
        Column("depth", "Depth"),
        Column("width", "Width"),
        Column("sparsity", "Sparsity"),
        Column("size", "Size", "main"),
        Column("ratio", "Smaller"),
        Column("validation", f"Validation {quality.label}"),
        Column("test", f"Test {quality.label}"),
        Column("loss", f"Lost to the teacher, {quality.step()}"),
        Column("latency", "Latency, ms"),
        *(Column(each.name, upper_first(each.label)) for each in _further(asked)),
        Column("command", "Take it away", "text"),
    ]


def _further(asked: Sequence[Metric]) -> list[Metric]:
    """Those that no column tells in any case."""
    return [each for each in asked if each.name not in (PACKED, "latency_ms")]


def front_rows(
    trials: pd.DataFrame, sweep: Sweep, theme: Theme = LIGHT, where: str = ""
) -> list[dict[str, str]]:
    """The members of the front as text, smallest file first, and each one's ``colour`` in the figure."""
    places = places_of(method_labels(trials["method"]), methods=True)
    front = trials[trials["front"]].sort_values(sweep.size)
    quality = sweep.quality
    return [
        {
            "name": _text(row["name"]),
            "method": method_label(row["method"]),
            "bits": _text(row["bits"]),
            "bucket_size": _text(row["bucket_size"]),
            "depth": "" if missing(row["depth"]) else number(row["depth"]),
            "width": number(row["width"]),
            "sparsity": share(row["sparsity"]),
            "size": size(row["packed_bytes"]),
            "ratio": times(row["compression_ratio"]),
            "validation": _with_interval(row, sweep, VALIDATION),
            "test": _with_interval(row, sweep, ""),
            "loss": "" if (found := reported(row, sweep.teacher, quality)) is None else found.lost_cell(),
            "latency": milliseconds(row["latency_ms"]),
            **{each.name: cost(each, row[each.name]) for each in _further(sweep.asked)},
            "command": f"rayduce export {row['run_id']} student.rdz{where}",
            "colour": colour_of(places[method_label(row["method"])], theme),
        }
        for row in front.to_dict("records")
    ]


def _with_interval(row: dict[Any, Any], sweep: Sweep, prefix: str) -> str:
    """A quality on a split and its interval; empty where it was not measured."""
    found = on_split(row, sweep.teacher, sweep.quality, prefix)
    return "" if found is None else found.value_text()


TOLD_ANYWAY = frozenset(
    ["packed_bytes", "onnx_bytes", "ram_bytes", "latency_ms", "macs", "mean_bits", "parameters", "seconds"]
)
"""Costs that stand among a trial's facts in any case."""


def further_facts(sweep: Sweep, row: dict[Any, Any]) -> list[tuple[str, str]]:
    """What the device said of a trial, and what else of it its sweep was asked to keep low."""
    told = dict.fromkeys((*device_costs(sweep.quality), *sweep.asked))
    return [(upper_first(c.label), cost(c, row[c.name])) for c in told if c.name not in TOLD_ANYWAY]


def failures(trials: pd.DataFrame) -> list[Failure]:
    """The trials that failed, in the order they were started."""
    failed = trials[(trials["state"] == "failed").to_numpy(dtype=bool, na_value=False)]
    return [
        Failure(_text(name), _text(reason) or "no reason was recorded")
        for name, reason in zip(failed["name"], failed["reason"], strict=True)
    ]


def _teacher_card(sweep: Sweep) -> Card:
    value, split, prefix = sweep.teacher_quality, "test", ""
    if missing(value):
        value, split, prefix = sweep.teacher_validation, "validation", VALIDATION
    if missing(value):
        return Card("Teacher", "\N{EN DASH}", "not measured yet")
    quality, samples = sweep.quality, samples_of(sweep.teacher, sweep.quality, prefix)
    between = value_interval(sweep.teacher, value, samples, prefix)
    points = () if between is None else (between.low, between.high)
    ends = " to ".join(quality.number(quality.points(end)) for end in points)
    parts = (f"{split} {quality.label}", f"{SURE}: {ends}" if ends else "", size(sweep.teacher_size))
    note = ", ".join(part for part in parts if part)
    return Card("Teacher, full precision", score(sweep.quality, value), note)


def _best_card(trials: pd.DataFrame, sweep: Sweep) -> Card:
    """All of it on validation, which chose: what the test split says of the same student is in the table."""
    within = f"within {TOLERANCE:g} {sweep.quality.step(TOLERANCE)}"
    choice = choose(trials, sweep.quality, sweep.teacher, Budget(max_drop=TOLERANCE), sweep.size)
    label = f"Smallest {SURE} sure {within}" if choice.sure else f"Smallest {within} on validation"
    if choice.student is None or choice.chosen is None:
        return Card(label, "\N{EN DASH}", "none so far")
    own = choice.student[sweep.size]
    smaller = choice.student["compression_ratio"] if sweep.size == PACKED else sweep.teacher_size / own
    ratio = times(smaller)
    note = f"{size(own)}, validation: {choice.chosen.lost_text()} lost"
    return Card(label, f"{ratio} smaller" if ratio else size(own), note)


def _front_card(trials: pd.DataFrame, sweep: Sweep, alike: Container[str]) -> Card:
    front = trials[trials["front"]].sort_values(sweep.size)
    methods = front["method"].nunique()
    note = f"over {count(methods, 'method')}" if len(front) else "no finished trial yet"
    if same := sum(run in alike for run in front["run_id"]):
        note += f"; {same} not told from the next smaller"
    known = front[front["model"].notna().to_numpy(dtype=bool)]
    if told := families_text([*zip(known["model"], known[sweep.size], strict=True)]):
        note += f". {told}"
    return Card("On the front", count(len(front), "student"), note)


def _trials_card(trials: pd.DataFrame) -> Card:
    beside, trials = int(trials["trained_with"].notna().sum()), drawn(trials)
    states = trials["state"].value_counts()
    shown = ("finished", "pruned", "running", "stopped", "failed")
    parts = [f"{states[s]} {show_state(s)}" for s in shown if states.get(s, 0)]
    if beside:
        parts.append(f"{count(beside, 'student')} beside theirs")
    return Card("Trials", str(len(trials)), ", ".join(parts) or "none started yet")


def _text(value: Any) -> str:
    return "" if missing(value) else str(value)
