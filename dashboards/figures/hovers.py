"""What a figure tells of a trial where the pointer is: HTML, with everything from the store escaped."""

from __future__ import annotations

import html
from typing import Any, NamedTuple

import pandas as pd

from dashboards.text import missing, share, times
from search.objectives.certainty import SURENESS, VALIDATION, has_intervals
from search.objectives.on_split import SURE, on_split
from search.store.sweep import Sweep


def hovers(sweep: Sweep, trials: pd.DataFrame, name: str, brief: bool) -> list[str]:
    """What is told of each trial; of many in one line each, which keeps a page of 10,000 below 6 MB."""
    columns = (trials[column].astype(object) for column in _Told._fields)
    sure = [""] * len(trials) if brief else _sure(sweep, trials)
    told = zip(zip(*columns, strict=True), sure, strict=True)
    return [_hover(_Told(*row), name, brief, each) for row, each in told]


def _sure(sweep: Sweep, trials: pd.DataFrame) -> list[str]:
    """Of each trial its validation quality and what it loses, with their intervals; empty where none has."""
    quality, teacher = sweep.quality, sweep.teacher
    if not has_intervals(teacher, quality, VALIDATION):
        return [""] * len(trials)
    columns = [name for name in (quality.validation, *SURENESS) if name in trials]
    found = (
        on_split(row, teacher, quality, VALIDATION) if state == "finished" else None
        for row, state in zip(trials[columns].to_dict("records"), trials["state"], strict=True)
    )
    return [
        ""
        if each is None
        else f"{SURE}: {each.value_text()}" + (f", {lost} lost" if (lost := each.lost_text()) else "")
        for each in found
    ]


class _Told(NamedTuple):
    """What is told of one trial where the pointer is: columns of the trials, any of which may be missing."""

    name: Any
    bits: Any
    bucket_size: Any
    depth: Any
    width: Any
    sparsity: Any
    compression_ratio: Any
    latency_ms: Any
    state: Any


def _hover(trial: _Told, sweep: str, brief: bool, sure: str = "") -> str:
    words = [
        "" if missing(trial.bits) else f"{trial.bits} bit",
        "" if missing(trial.bucket_size) else f"buckets of {trial.bucket_size}",
        "" if missing(trial.depth) else f"depth {trial.depth:g}",
        "" if missing(trial.width) else f"width {trial.width:g}",
        "" if missing(trial.sparsity) or not trial.sparsity else f"{share(trial.sparsity)} zeros",
    ]
    facts = [
        "" if missing(trial.compression_ratio) else f"{times(trial.compression_ratio)} smaller",
        "" if missing(trial.latency_ms) else f"{trial.latency_ms:.3g} ms",
        "" if trial.state == "finished" else str(trial.state),
        f"sweep {sweep}" if sweep else "",
    ]
    if brief:
        facts[0] = ""
        return html.escape(", ".join(part for part in (*words, *facts) if part), quote=False)
    lines = [sure, *(", ".join(part for part in parts if part) for parts in (words, facts))]
    title = html.escape("" if missing(trial.name) else str(trial.name), quote=False)
    return "<br>".join([f"<b>{title}</b>", *(html.escape(line, quote=False) for line in lines if line)])
