"""What a figure tells of a trial where the pointer is: HTML, with everything from the store escaped."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import pandas as pd

from dashboards.text import share, texts, times
from search.objectives.certainty import SURENESS, VALIDATION, has_intervals
from search.objectives.on_split import SURE, on_split
from search.store.sweep import Sweep
from search.units import show_state

_WORDS: dict[str, Callable[[Any], str]] = {
    "bits": lambda bits: f"{bits} bit",
    "bucket_size": lambda size: f"buckets of {size}",
    "depth": lambda depth: f"depth {depth:g}",
    "width": lambda width: f"width {width:g}",
    "sparsity": lambda zeros: f"{share(zeros)} zeros" if zeros else "",
}
"""What is told of a trial's recipe: column of the trials -> value -> words."""


def hovers(sweep: Sweep, trials: pd.DataFrame, name: str, brief: bool) -> list[str]:
    """What is told of each trial; of many in one line each, which keeps a page of 10,000 below 6 MB."""
    facts = [
        [""] * len(trials)
        if brief
        else texts(trials["compression_ratio"], lambda ratio: f"{times(ratio)} smaller"),
        texts(trials["latency_ms"], lambda latency: f"{latency:.3g} ms"),
        texts(trials["state"], lambda state: "" if state == "finished" else show_state(str(state))),
        [f"sweep {name}" if name else ""] * len(trials),
    ]
    words = [texts(trials[column], form) for column, form in _WORDS.items()]
    if brief:
        return [
            html.escape(", ".join(filter(None, parts)), quote=False)
            for parts in zip(*words, *facts, strict=True)
        ]
    told = (
        map(", ".join, (filter(None, parts) for parts in zip(*each, strict=True))) for each in (words, facts)
    )
    titles = texts(trials["name"], str)
    return [
        "<br>".join(
            [
                f"<b>{html.escape(title, quote=False)}</b>",
                *(html.escape(line, quote=False) for line in lines if line),
            ]
        )
        for title, *lines in zip(titles, _sure(sweep, trials), *told, strict=True)
    ]


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
