"""What is said of the student to ship, on the live page and on the one that needs no server."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import pandas as pd

from dashboards.text import milliseconds, missing, size
from search.objectives.aliases import DROPS
from search.objectives.budget import Budget
from search.objectives.choosing import Choice, choose, first_budget, limits_in_words, why_this
from search.objectives.costs import PACKED, SIZES
from search.objectives.on_split import SURE
from search.store.sweep import Sweep

SIZE_HEADS = {PACKED: "Packed", SIZES["onnx"]: "In ONNX"}
"""Of the sizes of a student: the one that the search minimises is the answer's own."""


class Answer(NamedTuple):
    """One student, as it is shown; all of it is text."""

    run_id: str
    name: str
    size: str
    facts: list[tuple[str, str]]
    why: str
    command: str


class Row(NamedTuple):
    """What may be lost, and the answer to it, in a line of a table."""

    may_lose: str
    student: str
    size: str
    lost: str
    sure: str


def answer_of(sweep: Sweep, choice: Choice, budget: Budget, where: str) -> Answer | None:
    """The student of a ``choice`` within ``budget``; None if there is none.

    Args:
        sweep: whose student it is.
        choice: see :func:`search.objectives.choosing.choose`.
        budget: within which it was chosen.
        where: what a command is told of the store.
    """
    student, told, quality = choice.student, choice.told, sweep.quality
    if student is None or told is None:
        return None
    latency = student["latency_ms"]
    facts = [
        (f"{told.split.capitalize()} {quality.label}", told.value_text()),
        ("Lost to the teacher", told.lost_text()),
        ("Latency", "" if missing(latency) else f"{milliseconds(latency)} ms"),
        ("Memory", size(student["ram_bytes"])),
        *((head, size(student[name])) for name, head in SIZE_HEADS.items() if name != sweep.size),
    ]
    run_id = str(student["run_id"])
    return Answer(
        run_id,
        str(student["name"]),
        size(student[sweep.size]),
        [(name, text) for name, text in facts if text],
        why_this(choice, quality, budget),
        f"rayduce export {run_id[:8]} student.rdz{where}",
    )


def no_answer(sweep: Sweep, choice: Choice, budget: Budget) -> str:
    """Why no student is within ``budget``, and what was asked."""
    return f"{choice.none} Asked of {sweep.name}: {limits_in_words(budget, sweep.quality)}."


def answers(trials: pd.DataFrame, sweep: Sweep) -> list[Row]:
    """The students that other losses would ship, within the costs that the sweep was asked to keep.

    They are the losses that students are registered by, and whatever the best of all loses.
    """
    own = first_budget(sweep.budget)
    drops = (*(points for _, points in DROPS), None)
    return [_row(trials, sweep, replace(own, max_drop=drop)) for drop in drops]


def _row(trials: pd.DataFrame, sweep: Sweep, budget: Budget) -> Row:
    quality, drop = sweep.quality, budget.max_drop
    choice = choose(trials, quality, sweep.teacher, budget, sweep.size)
    asked = "any: the best" if drop is None else f"{drop:g} {quality.step(drop)}"
    if choice.student is None or choice.chosen is None:
        return Row(asked, "none", "", "", "")
    sure = {True: "yes", False: "no, as measured", None: ""}[choice.sure]
    shown = size(choice.student[sweep.size])
    return Row(asked, str(choice.student["name"]), shown, choice.chosen.lost_cell(), sure)


HEADS = Row("May lose", "Student", "Size", "Loses on validation", f"{SURE} sure")
"""Above :func:`answers`."""
