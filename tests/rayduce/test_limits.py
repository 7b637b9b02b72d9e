"""Options of limits and objectives: what they mean, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from rayduce.commands.limits import LimitOptions, objectives_of
from search.objectives.budget import NO_LIMITS, Budget
from search.problem import Problem


def test_limits_with_an_option_of_their_own_and_those_by_name_are_one_budget() -> None:
    asked: dict[str, Any] = {
        "max_bytes": "16kB",
        "max_latency_ms": 2.0,
        "max_ram": "256KiB",
        "max_costs": ["macs=2e6", "onnx_bytes = 1.5MB", "mean_bits=4.5"],
        "max_drop": 1.0,
    }
    limits = {"packed_bytes": 16_000, "latency_ms": 2.0, "ram_bytes": 262_144, "macs": 2_000_000}
    assert LimitOptions(**asked).budget() == Budget(
        {**limits, "onnx_bytes": 1_500_000, "mean_bits": 4.5}, 1.0
    )
    assert LimitOptions().budget() == NO_LIMITS
    assert LimitOptions(max_costs=["packed_bytes=16000"]).budget().limits == {"packed_bytes": 16_000}


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"max_costs": ["macs"]}, "--max must be METRIC=VALUE, such as latency_ms=5 .*, got 'macs'"),
        ({"max_costs": ["=3"]}, "--max must be METRIC=VALUE"),
        ({"max_costs": ["macs="]}, "--max macs must be a number, got ''"),
        ({"max_costs": ["macs=2kB"]}, "--max macs must be a number, got '2kB'"),
        ({"max_costs": ["macs=-1"]}, "--max macs must be above 0 and finite, got -1"),
        ({"max_costs": ["macs=inf"]}, "--max macs must be above 0 and finite, got inf"),
        ({"max_costs": ["latency_ms=nan"]}, "--max latency_ms must be above 0 and finite, got nan"),
        ({"max_costs": ["packed_bytes=-3"]}, "--max packed_bytes must be above 0"),
        ({"max_costs": ["ram_bytes=3 potatoes"]}, "--max ram_bytes: '3 potatoes' is no size"),
        ({"max_ram": "much"}, "--max-ram: 'much' is no size"),
        ({"max_latency_ms": 0.0}, "--max-latency-ms must be above 0 and finite, got 0"),
        ({"max_drop": -1.0}, "--max-drop must be at least 0"),
        ({"max_bytes": "1kB", "max_costs": ["packed_bytes=2kB"]}, "--max packed_bytes limits packed_bytes,"),
        ({"max_costs": ["macs=1", "macs=2"]}, "--max macs limits macs, which another option limits already"),
    ],
)
def test_what_is_no_limit_is_told(asked: dict[str, Any], told: str) -> None:
    with pytest.raises(Problem, match=told):
        LimitOptions(**asked).budget()


def test_objectives_go_by_the_names_of_metrics() -> None:
    assert objectives_of("packed", None) == {"size": "packed_bytes", "minimized": ()}
    asked = objectives_of("onnx", ["latency_ms", "macs", "latency_ms"])
    assert asked == {"size": "onnx_bytes", "minimized": ("latency_ms", "macs")}
