"""What can be limited and minimised beside the quality: the costs of a sweep, by the names of metrics.

Imports neither torch nor ray.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from search.units import show_bytes, show_number
from trainables.metrics import Metric, Quality, costs_of

PACKED = "packed_bytes"
"""The size of students, unless a sweep searches by another."""

SIZES = {"packed": PACKED, "onnx": "onnx_bytes"}
"""What a sweep may search by as the size of its students: the word for it -> its metric."""

OPTIONS = {PACKED: "--max-bytes", "latency_ms": "--max-latency-ms", "ram_bytes": "--max-ram"}
"""Metrics whose limit has an option of its own; that of any other is ``--max METRIC=VALUE``."""

LEAST = 2.0**-40
"""What counts as 0 on a scale of doublings, on which 0 has no place."""


def minimizable(quality: Quality) -> tuple[str, ...]:
    """Names of the metrics that can be limited or minimised in a sweep by ``quality``: less is better."""
    return tuple(metric.name for metric in costs_of(quality) if metric.goal == "down")


def cost_of(quality: Quality, name: str) -> Metric:
    """The metric called ``name``, of which less is better.

    Raises:
        ValueError: trials of ``quality`` report none, or more of it is better; the message is a clause that
            names those there are.
    """
    found = next((metric for metric in costs_of(quality) if metric.name == name), None)
    known = ", ".join(minimizable(quality))
    if found is None:
        raise ValueError(f"there is no such metric: use one of {known}")
    if found.goal != "down":
        raise ValueError(f"more of it is better, so that it is no limit or aim: use one of {known}")
    return found


def number_of(value: Any) -> float | None:
    """A measured number; None of what was not measured, which is None or not finite."""
    return None if value is None or not math.isfinite(value) else float(value)


def measured(result: Mapping[str, Any], name: str) -> float | None:
    """What ``result`` has of the cost ``name``; None where it was not measured."""
    return number_of(result.get(name))


def doublings(value: float) -> float:
    """A cost as samplers and rules compare it: its logarithm to base 2; NaN where it was not measured."""
    return math.log2(max(value, LEAST)) if math.isfinite(value) else math.nan


def costs_named(quality: Quality, names: Iterable[str]) -> tuple[Metric, ...]:
    """Of all costs of a sweep those with such names, each once."""
    wanted = set(names)
    return tuple(metric for metric in costs_of(quality) if metric.name in wanted)


def show_value(metric: Metric, value: float) -> str:
    """A value in three digits, with its unit: ``16 kB``, ``0.5 ms``, ``2,000,000``."""
    return show_bytes(value) if metric.unit == "B" else f"{show_number(value)} {metric.unit}".rstrip()


def show_cost(metric: Metric, value: float) -> str:
    """A value and what it is: ``16 kB packed size``, ``0.5 ms latency``, ``2,000,000 multiply-adds``."""
    return f"{show_value(metric, value)} {metric.label}"


def exact(metric: Metric, value: float) -> str:
    """A value as it is compared with a limit, without the unit: ``12,300``, ``0.52``."""
    return f"{value:,.0f}" if metric.whole else show_number(value)


def with_unit(metric: Metric, value: float) -> str:
    """A value as it is compared with a limit: ``12,300 bytes``, ``0.52 ms``, ``1,234,567``."""
    unit = ("byte" if value == 1 else "bytes") if metric.unit == "B" else metric.unit
    return f"{exact(metric, value)} {unit}".rstrip()


def option_of(name: str) -> str:
    """The option that limits the metric ``name``."""
    return OPTIONS.get(name, f"--max {name}")
