"""Which students are on the front: told one by one, it is the same as told at the end."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.objectives.budget import Budget
from search.objectives.yardstick import Yardstick
from trainables.metrics import quality_of

ACCURACY = quality_of("accuracy")
MEASURED = st.fixed_dictionaries(
    {
        "validation_accuracy": st.integers(0, 10).map(lambda n: n / 10),
        "packed_bytes": st.integers(1, 10).map(float),
        "latency_ms": st.integers(1, 4).map(float),
    }
)


@given(st.lists(MEASURED, max_size=12), st.booleans(), st.none() | st.integers(1, 10))
def test_the_front_may_be_kept_up_to_date_one_student_at_a_time(
    measured: list[dict[str, float]], latency: bool, limit: int | None
) -> None:
    yardstick = Yardstick(ACCURACY, {}, Budget(max_bytes=limit), minimize_latency=latency)
    students = {str(i): metrics for i, metrics in enumerate(measured)}
    members: list[str] = []
    for key, metrics in students.items():
        members = yardstick.front({**{m: students[m] for m in sorted(members, key=int)}, key: metrics})
    assert members == yardstick.front(students)

    def beats(a: dict[str, float], b: dict[str, float]) -> bool:
        names = ("packed_bytes", "latency_ms") if latency else ("packed_bytes",)
        better = [a["validation_accuracy"] - b["validation_accuracy"], *(b[n] - a[n] for n in names)]
        return min(better) >= 0 and max(better) > 0

    fit = {k: m for k, m in students.items() if m["validation_accuracy"] > 0}
    fit = {k: m for k, m in fit.items() if limit is None or m["packed_bytes"] <= limit}
    best = {k: m for k, m in fit.items() if not any(beats(other, m) for other in fit.values())}
    values = {tuple(m[n] for n in ("validation_accuracy", "packed_bytes")) for m in best.values()}
    assert {tuple(students[k][n] for n in ("validation_accuracy", "packed_bytes")) for k in members} == values
    assert set(members) <= best.keys()
    assert [students[k]["packed_bytes"] for k in members] == sorted(
        students[k]["packed_bytes"] for k in members
    )


def test_a_student_without_a_measurement_is_on_no_front() -> None:
    yardstick = Yardstick(ACCURACY, {"validation_accuracy": 0.9}, Budget(max_drop=1.0), minimize_latency=True)
    good = {"validation_accuracy": 0.9, "packed_bytes": 10.0, "latency_ms": 1.0}
    without = {name: {k: v for k, v in good.items() if k != name} for name in good}
    assert yardstick.front({"good": good, **without}) == ["good"]
    assert yardstick.front({"poor": {**good, "validation_accuracy": 0.889}}) == []
    assert yardstick.over({**good, "validation_accuracy": 0.889}) != "" == yardstick.over(good)


def test_optuna_is_told_quality_bytes_and_perhaps_latency() -> None:
    quality = ACCURACY
    result = {"validation_accuracy": 0.9, "packed_bytes": 1024, "latency_ms": 0.25}
    plain, timed = Yardstick(quality), Yardstick(quality, minimize_latency=True)
    assert plain.objectives(result) == [0.9, 10.0] and timed.objectives(result) == [0.9, 10.0, 0.25]
    assert len(plain.directions) == 2 and timed.directions == ["maximize", "minimize", "minimize"]
    assert all(math.isnan(value) for value in timed.objectives({"packed_bytes": 0}))


def test_constraints_are_the_budget_s_beside_the_teacher() -> None:
    budget = Budget(max_bytes=1000, max_drop=1.0)
    yardstick = Yardstick(ACCURACY, {"validation_accuracy": 0.95}, budget)
    found = yardstick.constraints({"validation_accuracy": 0.92, "packed_bytes": 2000})
    assert found == pytest.approx(
        {"packed_bytes": 1.0, "drop": 1.0}
    )  # doublings: 2 kB of 1, (1 + 3) of (1 + 1)
