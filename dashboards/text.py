"""Numbers and names of a page; an empty string where nothing was measured."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd

from search.objectives.costs import show_value
from search.objectives.mark import RuntimeMark
from search.store.sweep import Sweep
from search.units import show_bytes, show_number, show_seconds
from trainables.foreign import shown
from trainables.metrics import Metric, Quality

LONGEST = 2_000
"""Letters of a name or a reason on a page; a reason is a sentence."""
LARGEST = 1e60
"""What is larger was not measured; figures may raise what is not to the fourth power."""


def missing(value: Any) -> bool:
    """Whether nothing was measured: None, NA, NaN or infinite."""
    return bool(pd.isna(value)) or (isinstance(value, float) and not math.isfinite(value))


def texts(values: pd.Series[Any], form: Callable[[Any], str], none: str = "") -> list[str]:
    """Each value as ``form`` words it, which is asked once for equal ones; ``none`` where one is missing."""
    plain = values.astype(object).tolist()
    known = {value: none if missing(value) else form(value) for value in set(plain)}
    return [known[value] for value in plain]


def fit_trials(trials: pd.DataFrame) -> pd.DataFrame:
    """``trials`` with texts that may be shown and numbers that can be drawn, whoever wrote them."""
    fit: dict[str, Any] = {}
    for column in trials.columns:
        values: pd.Series[Any] = trials[column]
        if values.dtype == "string":
            known = values.dropna().tolist()
            if not "".join(known).isprintable() or max(map(len, known), default=0) > LONGEST:
                fit[column] = values.map(lambda text: text if missing(text) else shown(text, LONGEST))
        elif values.dtype == "float64" and (values.abs() > LARGEST).any():
            fit[column] = values.where(values.abs() <= LARGEST)
    return trials.assign(**{column: values.astype(trials[column].dtype) for column, values in fit.items()})


def fit_sweep(sweep: Sweep) -> Sweep:
    """``sweep`` with names that may be shown and numbers that can be drawn, whoever wrote them."""
    return replace(
        sweep,
        name=shown(sweep.name),
        study=shown(sweep.study),
        metrics={name: value for name, value in sweep.metrics.items() if abs(value) <= LARGEST},
        signatures={name: shown(text) for name, text in sweep.signatures.items()},
        mark=RuntimeMark(
            shown(sweep.mark.way),
            shown(sweep.mark.reason, LONGEST),
            {name: value for name, value in sweep.mark.values.items() if abs(value) <= LARGEST},
        ),
    )


def told(error: Exception) -> str:
    """What an error says; it may hold text from the store."""
    return shown(str(error), LONGEST)


def number(value: Any) -> str:
    """``0.5``, ``20``, ``12,300``."""
    return "" if missing(value) else show_number(float(value))


def whole(value: Any) -> str:
    """Every digit, for what is a setting and no measurement: ``1,024``."""
    return "" if missing(value) else f"{int(value):,}"


def size(value: Any) -> str:
    """Bytes: ``950 B``, ``12.3 kB``, ``1.25 MB``."""
    return "" if missing(value) else show_bytes(float(value))


def cost(metric: Metric, value: Any) -> str:
    """What was measured of a cost, with its unit: ``12.3 kB``, ``11 mJ``, ``12,300``."""
    return "" if missing(value) else show_value(metric, float(value))


def upper_first(text: str) -> str:
    """``text`` as the head of a column: its first letter in capitals, the others as they are."""
    return text[:1].upper() + text[1:]


def share(value: Any) -> str:
    """A share in [0, 1] as percent: ``29 %``."""
    return "" if missing(value) else f"{100 * float(value):.0f} %"


def score(quality: Quality, value: Any) -> str:
    """A value of ``quality``: ``97.50 %``, ``34.20``."""
    return "" if missing(value) else quality.text(float(value))


def points(quality: Quality, value: Any, near: float) -> str:
    """A difference in points of ``quality`` to values of ``near`` points, with its sign: ``-0.56``."""
    if missing(value):
        return ""
    text = quality.number(abs(float(value)), near)
    sign = "" if float(text.replace(",", "")) == 0 else "+" if value > 0 else "\N{MINUS SIGN}"
    return f"{sign}{text}"


def times(value: Any) -> str:
    """A ratio: ``37x``, ``4.1x``."""
    if missing(value):
        return ""
    return f"{float(value):.1f}x" if float(value) < 10 else f"{float(value):,.0f}x"


def milliseconds(value: Any) -> str:
    """A latency without its unit: ``0.250``."""
    return "" if missing(value) else f"{float(value):.3f}"


def duration(seconds: Any) -> str:
    """``48 s``, ``3 min 20 s`` or ``2 h 05 min``."""
    return "" if missing(seconds) else show_seconds(float(seconds))


def method_labels(methods: pd.Series[Any]) -> list[str]:
    """The :func:`method_label` of each."""
    return texts(methods, method_label, method_label(None))


def method_label(method: Any) -> str:
    """``post_training_quantization`` -> ``Post-training quantization``."""
    if missing(method) or not str(method):
        return "Unknown method"
    words = str(method).replace("post_training", "post-training")
    words = words.replace("quantization_aware", "quantization-aware").replace("_", " ")
    return words[:1].upper() + words[1:]
