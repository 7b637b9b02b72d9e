"""Which students are on the front: told one by one, it is the same as told at the end."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.objectives.budget import Budget
from search.objectives.yardstick import Yardstick
from search.problem import Problem
from trainables.metrics import quality_of

ACCURACY = quality_of("accuracy")
MEASURED = st.fixed_dictionaries(
    {
        "validation_accuracy": st.integers(0, 10).map(lambda n: n / 10),
        "packed_bytes": st.integers(1, 10).map(float),
        "latency_ms": st.integers(1, 4).map(float),
        "macs": st.integers(1, 3).map(float),
    }
)
AIMS: list[tuple[str, ...]] = [(), ("latency_ms",), ("latency_ms", "macs")]


@given(st.lists(MEASURED, max_size=12), st.sampled_from(AIMS), st.none() | st.integers(1, 10))
def test_the_front_may_be_kept_up_to_date_one_student_at_a_time(
    measured: list[dict[str, float]], minimized: tuple[str, ...], limit: int | None
) -> None:
    budget = Budget({} if limit is None else {"packed_bytes": limit})
    yardstick = Yardstick(ACCURACY, {}, budget, minimized=minimized)
    students = {str(i): metrics for i, metrics in enumerate(measured)}
    members: list[str] = []
    for key, metrics in students.items():
        members = yardstick.front({**{m: students[m] for m in sorted(members, key=int)}, key: metrics})
    assert members == yardstick.front(students)
    costs = ("packed_bytes", *minimized)

    def beats(a: dict[str, float], b: dict[str, float]) -> bool:
        better = [a["validation_accuracy"] - b["validation_accuracy"], *(b[n] - a[n] for n in costs)]
        return min(better) >= 0 and max(better) > 0

    fit = {k: m for k, m in students.items() if m["validation_accuracy"] > 0}
    fit = {k: m for k, m in fit.items() if limit is None or m["packed_bytes"] <= limit}
    best = {k: m for k, m in fit.items() if not any(beats(other, m) for other in fit.values())}
    names = ("validation_accuracy", *costs)
    values = {tuple(m[n] for n in names) for m in best.values()}
    assert {tuple(students[k][n] for n in names) for k in members} == values
    assert set(members) <= best.keys()
    assert [students[k]["packed_bytes"] for k in members] == sorted(
        students[k]["packed_bytes"] for k in members
    )


def test_a_front_of_four_objectives_has_what_is_best_at_any_of_them() -> None:
    yardstick = Yardstick(ACCURACY, minimized=("latency_ms", "macs"))
    small = {"validation_accuracy": 0.9, "packed_bytes": 10.0, "latency_ms": 2.0, "macs": 200.0}
    fast = {**small, "packed_bytes": 20.0, "latency_ms": 1.0}
    lean = {**small, "packed_bytes": 30.0, "macs": 100.0}
    poor = {**small, "packed_bytes": 30.0, "latency_ms": 2.5}
    students = {"lean": lean, "poor": poor, "fast": fast, "small": small}
    assert yardstick.front(students) == ["small", "fast", "lean"]
    assert replace(yardstick, minimized=("latency_ms",)).front(students) == ["small", "fast"]
    assert replace(yardstick, minimized=()).front(students) == ["small"]
    # By another size the order and the front are other ones.
    by_macs = Yardstick(ACCURACY, size="macs", minimized=("latency_ms",))
    assert by_macs.front(students) == ["lean", "fast"]


def test_a_student_without_a_measurement_is_on_no_front() -> None:
    budget = Budget(max_drop=1.0)
    yardstick = Yardstick(ACCURACY, {"validation_accuracy": 0.9}, budget, minimized=("latency_ms",))
    good = {"validation_accuracy": 0.9, "packed_bytes": 10.0, "latency_ms": 1.0}
    without = {name: {k: v for k, v in good.items() if k != name} for name in good}
    unknown = {f"nan {name}": {**good, name: math.nan} for name in good}
    assert yardstick.front({"good": good, **without, **unknown}) == ["good"]
    assert yardstick.front({"poor": {**good, "validation_accuracy": 0.889}}) == []
    assert yardstick.over({**good, "validation_accuracy": 0.889}) != "" == yardstick.over(good)


def test_optuna_is_told_the_quality_and_the_doublings_of_each_cost() -> None:
    quality = ACCURACY
    result = {"validation_accuracy": 0.9, "packed_bytes": 1024, "latency_ms": 0.25, "macs": 0}
    plain, timed = Yardstick(quality), Yardstick(quality, minimized=("latency_ms", "macs"))
    assert plain.objectives(result) == [0.9, 10.0] and timed.objectives(result) == [0.9, 10.0, -2.0, -40.0]
    assert len(plain.directions) == 2
    assert timed.directions == ["maximize", "minimize", "minimize", "minimize"]
    assert all(math.isnan(value) for value in timed.objectives({"packed_bytes": math.nan}))


def test_constraints_are_the_budget_s_beside_the_teacher() -> None:
    budget = Budget({"packed_bytes": 1000}, max_drop=1.0)
    yardstick = Yardstick(ACCURACY, {"validation_accuracy": 0.95}, budget)
    found = yardstick.constraints({"validation_accuracy": 0.92, "packed_bytes": 2000})
    assert found == pytest.approx(
        {"packed_bytes": 1.0, "drop": 1.0}
    )  # doublings: 2 kB of 1, (1 + 3) of (1 + 1)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"minimized": ("speed",)}, "--minimize speed cannot be used: there is no such metric: use one of"),
        ({"minimized": ("sparsity",)}, "--minimize sparsity cannot be used: more of it is better"),
        ({"minimized": ("packed_bytes",)}, "--minimize packed_bytes can be left out"),
        ({"minimized": ("macs", "macs")}, "--minimize macs can be left out"),
        ({"budget": Budget({"early_share": 0.5})}, "--max early_share cannot be used: more of it is better"),
        ({"budget": Budget({"latency_beam_ms": 0.5})}, "--max latency_beam_ms cannot be used"),
        ({"size": "gzip_bytes"}, "--size-of gzip_bytes cannot be used"),
    ],
)
def test_what_students_do_not_measure_is_no_limit_and_no_aim(asked: dict[str, Any], told: str) -> None:
    with pytest.raises(Problem, match=told):
        Yardstick(ACCURACY, **asked).check()
    Yardstick(quality_of("bleu"), budget=Budget({"latency_beam_ms": 0.5}), minimized=("macs",)).check()


def test_a_latency_of_this_machine_matters_as_a_limit_and_as_an_aim() -> None:
    assert Yardstick(ACCURACY, minimized=("latency_ms",)).timed_here
    assert Yardstick(ACCURACY, budget=Budget({"latency_beam_ms": 1.0})).timed_here
    assert not Yardstick(ACCURACY, budget=Budget({"macs": 1}), minimized=("parameters",)).timed_here
