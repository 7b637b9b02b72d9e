"""Which student to ship, within limits: one rule for the front page and the terminal. No torch, no ray."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from search.objectives.budget import Budget
from search.objectives.certainty import VALIDATION
from search.objectives.costs import cost_of, measured, show_cost
from search.objectives.on_split import SURE, OnSplit, on_split, reported
from search.units import show_number
from trainables.metrics import Quality

FIRST_DROP = 1.0
"""Points of quality that may be lost where neither a sweep nor its user has set a limit."""

Row = Mapping[str, Any]
"""A trial by the columns of :meth:`search.store.store.Store.trials`."""


@dataclass(frozen=True)
class Choice:
    """One student, and how far it can be relied on.

    Attributes:
        student: the chosen one; None if there is none.
        chosen: it on the validation split, by which it was chosen.
        told: it on the test split where that was measured, which no choice has seen; else on validation.
        sure: whether what it loses is within the limit at the worse end of its interval too; None where no
            limit was set on what is lost, or no interval is known.
        bolder: a smaller student that is within the limit as measured, and not surely; None if there is none.
        none: one sentence on why there is no student; empty if there is one.
    """

    student: Row | None = None
    chosen: OnSplit | None = None
    told: OnSplit | None = None
    sure: bool | None = None
    bolder: Row | None = None
    none: str = ""


def first_budget(own: Budget) -> Budget:
    """The limits that a choice begins with: a sweep's ``own``, or that one point may be lost."""
    return own if own.limits or own.max_drop is not None else Budget(max_drop=FIRST_DROP)


def with_wishes(own: Budget, asked: Budget) -> Budget:
    """A sweep's ``own`` limits with those that were ``asked`` for in their place; as they begin if none were.

    Limits of other costs stay, since the sweep was made for them.
    """
    drop = own.max_drop if asked.max_drop is None else asked.max_drop
    return first_budget(Budget({**own.limits, **asked.limits}, drop))


def choose(
    students: Sequence[Row], quality: Quality, teacher: Mapping[str, float], budget: Budget, size: str
) -> Choice:
    """The student to ship.

    With a limit on what is lost it is the smallest that is surely within it, at the worse end of the interval
    of what it loses on validation; if none is, the smallest that is within it as measured. Without such a
    limit it is the one of the best validation quality, the smaller of two.

    Args:
        students: trials of one sweep; only those that have finished can ship.
        quality: of the sweep.
        teacher: what is known of its teacher, by metric.
        budget: what may be taken and lost.
        size: the metric that is the size of the sweep's students.
    """
    finished = [each for each in students if each.get("state") == "finished" and _has_learnt(each, quality)]
    finished = [each for each in finished if measured(_plain(each), size) is not None]
    costs = replace(budget, max_drop=None)
    fit = [each for each in finished if not costs.exceeded(_plain(each), quality, math.nan)]
    if not fit:
        return Choice(none=_why_none(finished, costs, quality))
    fit.sort(key=lambda each: (each[size], -quality.gain(each[quality.validation]), str(each["run_id"])))
    if budget.max_drop is None:
        return _told(max(fit, key=lambda each: quality.gain(each[quality.validation])), quality, teacher)
    return _within(fit, quality, teacher, budget.max_drop)


def limits_in_words(budget: Budget, quality: Quality) -> str:
    """``at most 16 kB packed size and 1 point lost``; ``no limits``."""
    costs = [show_cost(cost_of(quality, name), limit) for name, limit in budget.limits.items()]
    drop = budget.max_drop
    lost = [] if drop is None else [f"{show_number(drop)} {quality.step(drop)} lost"]
    *others, last = [*costs, *lost] or ["no limits"]
    words = f"{', '.join(others)} and {last}" if others else last
    return f"at most {words}" if costs or lost else words


def why_this(choice: Choice, quality: Quality, budget: Budget) -> str:
    """Why it is this student, and how far that can be relied on.

    Such as ``The smallest of at most 1 point lost, chosen on validation: 95 % sure. In brackets: 95 %
    intervals.``
    """
    rule = "The best" if budget.max_drop is None else "The smallest"
    text = f"{rule} of {limits_in_words(budget, quality)}, chosen on validation"
    if choice.sure is not None:
        text += f": {SURE} sure" if choice.sure else f", as measured: of none it is {SURE} sure"
    text += "."
    if choice.bolder is not None:
        text += f" As measured, {choice.bolder['name']} is within it too, and smaller."
    if any(each is not None and each.between is not None for each in (choice.told, choice.chosen)):
        text += f" In brackets: {SURE} intervals."
    return text


def _within(fit: Sequence[Row], quality: Quality, teacher: Mapping[str, float], drop: float) -> Choice:
    """Of students in the order of their sizes."""
    known = [(each, on_split(each, teacher, quality, VALIDATION)) for each in fit]
    beside = [(each, split) for each, split in known if split is not None and not math.isnan(split.lost)]
    if not beside:
        return Choice(
            none=f"What students lose is not known: the teacher's {quality.label} was not measured."
        )
    seen = next((each for each, split in beside if split.lost <= drop), None)
    surely = next((each for each, split in beside if split.most_lost <= drop), None)
    step = f"{drop:g} {quality.step(drop)}"
    if seen is None:
        each, split = min(beside, key=lambda pair: pair[1].lost)
        near = f"{each['name']}, loses {split.lost_text()}"
        return Choice(none=f"No student that fits is within {step}; the nearest, {near}.")
    if surely is None:
        has_interval = any(split.lost_between is not None for _, split in beside)
        return replace(_told(seen, quality, teacher), sure=False if has_interval else None)
    bolder = seen if seen["run_id"] != surely["run_id"] else None
    return replace(_told(surely, quality, teacher), sure=True, bolder=bolder)


def _told(student: Row, quality: Quality, teacher: Mapping[str, float]) -> Choice:
    chosen = on_split(student, teacher, quality, VALIDATION)
    return Choice(student, chosen, reported(student, teacher, quality))


def _has_learnt(student: Row, quality: Quality) -> bool:
    """One of the worst quality there is, is no choice, however small it is."""
    value = student.get(quality.validation)
    return not (value is None or pd.isna(value)) and quality.gain(value) > quality.gain(quality.worst)


def _why_none(finished: Sequence[Row], costs: Budget, quality: Quality) -> str:
    if not finished:
        return "No student has finished yet."
    over = ((each, costs.constraints(_plain(each), quality, math.nan)) for each in finished)
    nearest = min(over, key=lambda pair: sum(max(value, 0.0) for value in pair[1].values()))[0]
    more = costs.exceeded(_plain(nearest), quality, math.nan)
    return f"No student fits; the nearest is {nearest['name']}: {more}."


def _plain(student: Row) -> dict[str, Any]:
    """With None for what was not measured, whatever pandas has in its place."""
    return {
        name: None if not isinstance(value, list) and pd.isna(value) else value
        for name, value in student.items()
    }
