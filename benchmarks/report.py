"""How the tables of published methods are told: means and spreads over seeds, and who is ahead of whom."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.jobs import BUCKET_SIZE, FULL_PRECISION, TEACHER
from trainables.files import write_file
from trainables.metrics import Quality

Cells = Sequence[Mapping[str, Any]]
"""What :func:`benchmarks.jobs.collect` gives."""

Kind = tuple[str, int]
"""A method at a number of bits."""

LABELS = {
    "fp": "full precision, normal",
    "kd": "full precision, distilled",
    "seq": "full precision, distilled by sequence",
    "pm": "post-training, no buckets",
    "pm256": f"post-training, bucket {BUCKET_SIZE}",
    "qd": f"QD, bucket {BUCKET_SIZE}",
    "dq": f"DQ, bucket {BUCKET_SIZE}",
}


@dataclass(frozen=True)
class Layout:
    """What a table shows.

    Attributes:
        quality: by which methods are ordered.
        methods: rows in their order, each with the bits it has cells of.
        claims: pairs of kinds of which the first is published to be the better.
        published: quality in points as printed in a paper, by student and kind; what is missing is not known.
    """

    quality: Quality
    methods: Mapping[str, tuple[int, ...]]
    claims: tuple[tuple[Kind, Kind], ...]
    published: Mapping[tuple[int, str, int], float]

    @property
    def columns(self) -> tuple[int, ...]:
        """All bits there are, ascending."""
        return tuple(sorted({bits for columns in self.methods.values() for bits in columns}))


def chain(bits: Iterable[int]) -> tuple[tuple[Kind, Kind], ...]:
    """The published order: distilled before normal, and at each of ``bits``: distilled, QD, buckets, none."""
    claims: list[tuple[Kind, Kind]] = [(("kd", FULL_PRECISION), ("fp", FULL_PRECISION))]
    for width in sorted(bits, reverse=True):
        claims += pairwise([("kd", FULL_PRECISION), ("qd", width), ("pm256", width), ("pm", width)])
    return tuple(claims)


def by_seed(cells: Cells, student: int, kind: Kind, name: str) -> dict[int, float]:
    """The numbers called ``name`` of one student and method, by seed, where there are any."""
    return {
        cell["seed"]: cell[name]
        for cell in cells
        if (cell["student"], cell["method"], cell["bits"]) == (student, *kind) and cell.get(name) is not None
    }


def orderings(cells: Cells, layout: Layout, students: Iterable[int]) -> list[dict[str, Any]]:
    """How the published claims fare on the test split, with the seeds that agree.

    Returns:
        Per student and claim, in the order of the claims: ``student``, ``claim``, ``seeds`` (that have
        both sides), ``agree`` (in which the first is better), ``mean_difference`` in points over the
        seeds (None without any), ``deviation`` of the differences (None below two seeds), and
        ``published_difference`` (None where no figures are known).
    """
    rows = []
    for student in students:
        for better, worse in layout.claims:
            name = f"test_{layout.quality.name}"
            ours, theirs = by_seed(cells, student, better, name), by_seed(cells, student, worse, name)
            both = sorted(ours.keys() & theirs.keys())
            differences = [layout.quality.points(ours[seed] - theirs[seed]) for seed in both]
            rows.append(
                {
                    "student": student,
                    "claim": f"{_spell(*better)} > {_spell(*worse)}",
                    "seeds": len(differences),
                    "agree": sum(difference > 0 for difference in differences),
                    "mean_difference": statistics.fmean(differences) if differences else None,
                    "deviation": statistics.stdev(differences) if len(differences) > 1 else None,
                    "published_difference": _published_difference(layout, student, better, worse),
                }
            )
    return rows


def markdown(cells: Cells, layout: Layout, students: Mapping[int, str]) -> str:
    """Qualities, sizes and orderings as markdown tables, measured next to published.

    Args:
        cells: what is there; what is not is shown as a dash.
        layout: what to show.
        students: numbers and names.
    """
    lines = [_teacher_line(cells, layout), ""]
    for quality in layout.quality.reported:
        beside = " (published)" if quality == layout.quality and layout.published else ""
        lines += [
            f"Test {quality.heading}, {'lower is better, ' if quality.goal == 'down' else ''}"
            f"mean ± standard deviation over the seeds{beside}:",
            "",
            *grid(layout, students, lambda *which, q=quality: _entry(cells, layout, q, *which)),
            "",
        ]
    lines += [
        "Packed bytes, mean over the seeds, everything counted:",
        "",
        *grid(layout, students, lambda student, kind: mean(cells, student, kind, "packed_bytes", ",.0f")),
        "",
        f"Orderings by test {layout.quality.heading}: seeds that agree, mean difference ± standard deviation "
        f"in points{', published difference' if layout.published else ''}:",
        "",
        "| student | ordering | seeds | measured |" + (" published |" if layout.published else ""),
        "|---|---|---|---|" + ("---|" if layout.published else ""),
    ]
    for found in orderings(cells, layout, students):
        printed = f" {_signed(found['published_difference'])} |" if layout.published else ""
        lines.append(
            f"| {students[found['student']]} | {found['claim']} | {found['agree']} of {found['seeds']} "
            f"| {_difference(found)} |{printed}"
        )
    return "\n".join(lines) + "\n"


def grid(layout: Layout, students: Mapping[int, str], entry: Callable[[int, Kind], str]) -> list[str]:
    """A row per student and method, a column per number of bits; ``entry`` fills those that there are."""
    heads = " | ".join(f"{bits} bits" for bits in layout.columns)
    lines = [f"| student | method | {heads} |", f"|---|---|{'---|' * len(layout.columns)}"]
    for student, name in students.items():
        for method, columns in layout.methods.items():
            row = [entry(student, (method, bits)) if bits in columns else "" for bits in layout.columns]
            lines.append(f"| {name} | {LABELS[method]} | {' | '.join(row)} |")
    return lines


def mean(cells: Cells, student: int, kind: Kind, name: str, form: str) -> str:
    """The mean over the seeds in the format ``form``, or a dash."""
    values = list(by_seed(cells, student, kind, name).values())
    return f"{statistics.fmean(values):{form}}" if values else "-"


def figure(values: Iterable[float]) -> str:
    """Mean and, of at least two values, standard deviation; a dash of none."""
    given = list(values)
    if not given:
        return "-"
    spread = f" ± {statistics.stdev(given):.2f}" if len(given) > 1 else ""
    return f"{statistics.fmean(given):.2f}{spread}"


def write_report(
    out: Path, facts: Mapping[str, Any], cells: Cells, layout: Layout, students: Mapping[int, str], text: str
) -> None:
    """Write ``table.json`` (``facts``, cells, orderings) and ``table.md`` (``text``); print the latter."""
    report = {**facts, "cells": cells, "orderings": orderings(cells, layout, students)}
    write_file(out / "table.json", (json.dumps(report, indent=1) + "\n").encode())
    write_file(out / "table.md", text.encode())
    print(text)


def _published_difference(layout: Layout, student: int, better: Kind, worse: Kind) -> float | None:
    ours, theirs = (layout.published.get((student, *kind)) for kind in (better, worse))
    return None if ours is None or theirs is None else ours - theirs


def _teacher_line(cells: Cells, layout: Layout) -> str:
    kind = ("fp", FULL_PRECISION)
    told = []
    for quality in layout.quality.reported:
        values = by_seed(cells, TEACHER, kind, f"test_{quality.name}").values()
        told.append(f"{quality.heading} {figure(map(quality.points, values))}")
    known = layout.published.get((TEACHER, *kind))
    told[0] += "" if known is None else f" ({known:g} published)"
    return f"Teacher: {', '.join(told)}; {mean(cells, TEACHER, kind, 'packed_bytes', ',.0f')} bytes."


def _entry(cells: Cells, layout: Layout, quality: Quality, student: int, kind: Kind) -> str:
    values = by_seed(cells, student, kind, f"test_{quality.name}").values()
    known = layout.published.get((student, *kind)) if quality == layout.quality else None
    return figure(map(quality.points, values)) + ("" if known is None else f" ({known:g})")


def _difference(found: Mapping[str, Any]) -> str:
    spread = "" if found["deviation"] is None else f" ± {found['deviation']:.2f}"
    return f"{_signed(found['mean_difference'])}{spread}"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f}"


def _spell(method: str, bits: int) -> str:
    return LABELS[method] if bits == FULL_PRECISION else f"{LABELS[method]}, {bits} bits"
