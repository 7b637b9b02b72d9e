"""Qualities that users bring, and how they are spelled where only text can be kept. Loads no torch."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from typing import Any

from trainables.foreign import parse_json, shown
from trainables.metrics.base import DEVICE, GOALS, VALIDATION, Quality
from trainables.metrics.known import METRICS

LONGEST_LABEL = 40
"""Letters of a label or a unit."""
LONGEST_SPELLING = 2000
NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
TAKEN = frozenset(
    {
        "aliases", "bits", "bucket_size", "code", "continues", "copied_from", "data", "date", "depth",
        "done", "end_time", "epoch", "epochs", "experiment_id", "feasible", "fold", "front", "front_size",
        "hostname", "iterations_since_restore", "latency_machine", "levels", "machine", "method", "metric",
        "model", "name", "node_ip", "over", "packed_file", "peers",
        "pid", "reason", "recipe", "recipe_id", "run_id",
        "seed", "seedless_id", "source", "sparsity_target", "split", "start_time", "state", "step",
        "study", "sweep", "task", "teacher", "time_since_restore", "time_this_iter_s", "time_total_s",
        "timestamp", "trained_with", "training_iteration", "trial",
        "trial_id", "validation", "width", "config",
    }
)  # fmt: skip
"""Names that mean something else in a trial's result, in tables of trials or in what commands print."""
MEAN_QUALITY = "mean_quality"
"""Name of the mean of several tasks' qualities."""
_PUNCTUATION = frozenset(" .,:;'()+-/%=^@!?_\N{DEGREE SIGN}\N{MIDDLE DOT}\N{MULTIPLICATION SIGN}")
_NEEDED = frozenset({"goal", "label", "name", "scale", "unit"})
_ENDS = frozenset({"lowest", "highest"})


def own_quality(
    name: str,
    goal: str = "up",
    *,
    label: str | None = None,
    unit: str = "",
    scale: float = 1.0,
    lowest: float | None = None,
    highest: float | None = None,
) -> Quality:
    """A quality that Rayduce does not know by itself.

    Args:
        name: under which it is logged: a letter, then up to 31 letters, digits and underscores, all small.
        goal: ``up`` (default) if more is better, ``down`` if less is.
        label: what people call it, at most 40 letters; None (default) is the name with spaces.
        unit: of the number times ``scale``; default none.
        scale: points per unit of the number, above 0; default 1. A point is what ``--max-drop 1`` allows.
        lowest: the least it can be; None (default) where there is no end. A student of the worst value there
            can be has learnt nothing, and is on no front.
        highest: the most it can be, likewise.

    Raises:
        ValueError: one of them cannot be used; the message says which and why.
    """
    _check_name(name)
    label = name.replace("_", " ") if label is None else label
    if goal not in GOALS:
        raise ValueError(f"goal must be one of {', '.join(GOALS)}, got goal={_said(goal)}")
    _check_text("label", label)
    _check_text("unit", unit, empty=True)
    ends = {
        key: None if end is None else _number(key, end)
        for key, end in (("lowest", lowest), ("highest", highest))
    }
    return Quality(
        name,
        label,
        goal,
        f"{label}, as the job measures it.",
        -math.inf if ends["lowest"] is None else ends["lowest"],
        math.inf if ends["highest"] is None else ends["highest"],
        _number("scale", scale),
        unit,
    )


def own_spelling(quality: Quality) -> str:
    """A quality of one's own as canonical JSON, in ASCII.

    Raises:
        ValueError: there is more to it than :func:`own_quality` makes.
    """
    ends = {"lowest": quality.lowest, "highest": quality.highest}
    told: dict[str, Any] = {key: value for key, value in ends.items() if math.isfinite(value)}
    told |= {key: getattr(quality, key) for key in _NEEDED}
    if own_quality(**told) != quality:
        raise ValueError(f"only a quality that own_quality makes can be spelled, got {quality}")
    return json.dumps(told, sort_keys=True, separators=(",", ":"), allow_nan=False)


def read_spelling(metric: str) -> Quality:
    """Inverse of :func:`own_spelling`; ``metric`` may come from anywhere.

    Raises:
        ValueError: it is not what :func:`own_spelling` gives for any quality.
    """
    if len(metric) > LONGEST_SPELLING:
        raise ValueError(f"metric must have at most {LONGEST_SPELLING:,} letters, got {len(metric):,}")
    try:
        told = parse_json(metric, deepest=2)
    except ValueError as error:
        raise ValueError(
            f"metric must be JSON: {shown(str(error), 100)}, got metric={_said(metric)}"
        ) from None
    if not isinstance(told, dict) or not _NEEDED <= told.keys() <= _NEEDED | _ENDS:
        raise ValueError(
            f"metric must have the keys {', '.join(sorted(_NEEDED))} and may have highest and lowest, "
            f"got metric={_said(metric)}"
        )
    if any(told[key] is None for key in told):
        raise ValueError(f"metric must have no null, got metric={_said(metric)}")
    quality = own_quality(**told)
    if (right := own_spelling(quality)) != metric:
        raise ValueError(f"metric must be spelled {right}, got metric={_said(metric)}")
    return quality


def _said(value: Any) -> str:
    return shown(repr(value), 60)


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(
            "the name of a quality must be a small letter and up to 31 small letters, digits "
            f"or underscores, got name={_said(name)}"
        )
    if name.startswith((VALIDATION, "teacher_", DEVICE)):
        raise ValueError(
            f"the name of a quality must not begin with {VALIDATION}, teacher_ or {DEVICE}, got {name=}"
        )
    if name in TAKEN or name in {metric.name for metric in METRICS}:
        raise ValueError(f"the name of a quality must be none that means something else, got {name=}")


def _check_text(what: str, text: Any, *, empty: bool = False) -> None:
    """Pages, tables, Markdown and terminals show it as it is: no letter of it may mean something to them."""
    right = isinstance(text, str) and len(text) <= LONGEST_LABEL and (bool(text) or empty)
    if not right or text != " ".join(text.split(" ")).strip() or not all(map(_plain, text)):
        raise ValueError(
            f"the {what} of a quality must be {0 if empty else 1} to {LONGEST_LABEL} letters, digits, spaces "
            f"and {''.join(sorted(_PUNCTUATION - {' '}))}, got {what}={_said(text)}"
        )


def _plain(letter: str) -> bool:
    return letter.isprintable() and (
        letter.isalnum() or letter in _PUNCTUATION or unicodedata.category(letter) == "Sc"
    )


def _number(what: str, value: Any) -> float:
    try:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError
        return float(value)
    except (ValueError, OverflowError):
        raise ValueError(
            f"the {what} of a quality must be a finite number, got {what}={_said(value)}"
        ) from None
