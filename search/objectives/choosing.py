"""Which student to ship, within limits: one rule for the front page and the terminal. No torch, no ray."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from search.objectives.budget import Budget
from search.objectives.certainty import LOST, LOST_HIGH, SURENESS, VALIDATION
from search.objectives.costs import LEAST, cost_of, show_cost
from search.objectives.on_split import SURE, OnSplit, no_interval, on_split, reported
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
    trials: pd.DataFrame, quality: Quality, teacher: Mapping[str, float], budget: Budget, size: str
) -> Choice:
    """The student to ship.

    With a limit on what is lost it is the smallest that is surely within it, at the worse end of the interval
    of what it loses on validation; if none is, the smallest that is within it as measured. Without such a
    limit it is the one of the best validation quality, the smaller of two.

    Args:
        trials: of one sweep; only those that have finished can ship.
        quality: of the sweep.
        teacher: what is known of its teacher, by metric.
        budget: what may be taken and lost.
        size: the metric that is the size of the sweep's students.
    """
    sizes, values = _numbers(trials, size), _numbers(trials, quality.validation)
    gains = quality.gain(1.0) * values
    # One of the worst quality there is has learnt nothing, and is no choice however small it is.
    known = np.isfinite(sizes) & np.isfinite(values) & (gains > quality.gain(quality.worst))
    known &= (trials["state"] == "finished").to_numpy(dtype=bool, na_value=False)
    over = _over(trials, budget)
    fit = np.flatnonzero(known & (over <= 0))
    if not len(fit):
        return Choice(none=_why_none(trials, np.flatnonzero(known), over, budget, quality))
    fit = fit[np.lexsort((trials["run_id"].to_numpy(dtype=object)[fit], -gains[fit], sizes[fit]))]
    if budget.max_drop is None:
        return _told(_row(trials, int(fit[np.argmax(gains[fit])])), quality, teacher)
    return _within(trials, fit, quality, teacher, budget.max_drop)


def limits_in_words(budget: Budget, quality: Quality) -> str:
    """``at most 16 kB packed size and 1 point lost``; ``no limits``."""
    costs = [show_cost(cost_of(quality, name), limit) for name, limit in budget.limits.items()]
    drop = budget.max_drop
    lost = [] if drop is None else [f"{show_number(drop)} {quality.step(drop)} lost"]
    *others, last = [*costs, *lost] or ["no limits"]
    words = f"{', '.join(others)} and {last}" if others else last
    return f"at most {words}" if costs or lost else words


def in_short(choice: Choice, quality: Quality, budget: Budget) -> str:
    """Why it is this student, in a clause that says which split chose it.

    Such as ``the smallest of at most 1 point lost, chosen on validation, 95 % sure; on test it may lose up to
    1.63``.
    """
    rule = "best" if budget.max_drop is None else "smallest"
    text = f"the {rule} of {limits_in_words(budget, quality)}, chosen on validation"
    if budget.max_drop is not None:
        text += f", {SURE} sure" if choice.sure else ", as measured"
    return text + _beyond_on_test(choice, budget)


def why_this(choice: Choice, quality: Quality, budget: Budget) -> str:
    """:func:`in_short` as a sentence, and how far it can be relied on.

    Such as ``The smallest of at most 1 point lost, chosen on validation, 95 % sure. In brackets: 95 %
    intervals.``
    """
    clause = in_short(choice, quality, budget)
    text = f"{clause[:1].upper()}{clause[1:]}."
    if choice.sure is False:
        text += f" None is {SURE} sure to lose no more."
    if choice.bolder is not None:
        text += f" As measured, {choice.bolder['name']} is within it too, and smaller."
    if any(each is not None and each.between is not None for each in (choice.told, choice.chosen)):
        return f"{text} In brackets: {SURE} intervals."
    return f"{text} {no_interval(quality)}."


def _beyond_on_test(choice: Choice, budget: Budget) -> str:
    """What the chosen one loses on the test split, where that may be more than the limit; else nothing."""
    told = choice.told
    if told is None or told.split != "test" or budget.max_drop is None:
        return ""
    if told.most_lost > budget.max_drop:
        return f"; on test it may lose up to {told.most_text()}"
    return f"; on test it loses {told.lost_text()}" if told.lost > budget.max_drop else ""


def _within(
    trials: pd.DataFrame,
    fit: NDArray[np.int64],
    quality: Quality,
    teacher: Mapping[str, float],
    drop: float,
) -> Choice:
    """Of the trials ``fit``, in the order of their sizes."""
    own = teacher.get(quality.validation, math.nan)
    if not math.isfinite(own):
        return Choice(none=f"What students lose is not known: the teacher has no {quality.label} yet.")
    # Rounded by a hair, as Quality.lost is: 56 % is one point below 57 %, and not 0.99... points.
    lost = quality.gain(1.0) * quality.scale * (own - _numbers(trials, quality.validation)[fit])
    lost = np.round(lost, 9)
    if not (lost <= drop).any():
        near = _row(trials, int(fit[np.argmin(lost)]))
        split, step = on_split(near, teacher, quality, VALIDATION), f"{drop:g} {quality.step(drop)}"
        said = f"{near['name']}, loses {'' if split is None else split.lost_text()}"
        return Choice(none=f"No student that fits is within {step}; the nearest, {said}.")
    within = fit[lost <= drop]  # whoever is surely within is within
    seen, sure, counted = _row(trials, int(within[0])), None, False
    told = within[_counted(trials)[within]]
    names = [name for name in (quality.validation, *SURENESS) if name in trials]
    for place, *values in zip(told, *(trials[name].iloc[told] for name in names), strict=True):
        split = on_split(dict(zip(names, values, strict=True)), teacher, quality, VALIDATION)
        counted = counted or (split is not None and split.lost_between is not None)
        if split is not None and split.most_lost <= drop:
            sure = _row(trials, int(place))
            break
    if sure is None:
        return replace(_told(seen, quality, teacher), sure=False if counted else None)
    bolder = seen if seen["run_id"] != sure["run_id"] else None
    return replace(_told(sure, quality, teacher), sure=True, bolder=bolder)


def _counted(trials: pd.DataFrame) -> NDArray[np.bool_]:
    """Of which trials it is known how sure it is what they lose."""
    counted, drawn = (_numbers(trials, VALIDATION + name) for name in (LOST, LOST_HIGH))
    return np.isfinite(counted) | np.isfinite(drawn)


def _told(student: Row, quality: Quality, teacher: Mapping[str, float]) -> Choice:
    chosen = on_split(student, teacher, quality, VALIDATION)
    return Choice(student, chosen, reported(student, teacher, quality))


def _over(trials: pd.DataFrame, budget: Budget) -> NDArray[np.float64]:
    """By how many doublings each trial is over the limits of its costs, added up; 0 where it is within."""
    total = np.zeros(len(trials))
    for name, limit in budget.limits.items():
        values = _numbers(trials, name)
        with np.errstate(divide="ignore"):
            over = np.log2(np.maximum(values, LEAST) / limit)
        total += np.where(np.isfinite(values), np.where(values > limit, over, 0.0), 1.0)
    return total


def _why_none(
    trials: pd.DataFrame,
    known: NDArray[np.int64],
    over: NDArray[np.float64],
    budget: Budget,
    quality: Quality,
) -> str:
    if not len(known):
        return "No student has finished yet."
    nearest = _row(trials, int(known[np.argmin(over[known])]))
    more = replace(budget, max_drop=None).exceeded(nearest, quality, math.nan)
    return f"No student fits; the nearest is {nearest['name']}: {more}."


def _numbers(trials: pd.DataFrame, name: str) -> NDArray[np.float64]:
    if name not in trials:
        return np.full(len(trials), math.nan)
    return trials[name].to_numpy(dtype=float, na_value=np.nan)


def _row(trials: pd.DataFrame, place: int) -> dict[str, Any]:
    """One trial in plain values, with None for what was not measured."""
    return {
        str(name): None if pd.isna(value := trials[name].iloc[place]) else value for name in trials.columns
    }
