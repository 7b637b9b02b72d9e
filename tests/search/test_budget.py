"""Limits of a student: what is over them, by how much, and what Optuna hears."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.objectives.budget import NO_LIMITS, Budget
from search.objectives.costs import cost_of, minimizable
from search.tracking.values import flatten
from trainables.metrics import Metric, quality_of

ACCURACY, BLEU = quality_of("accuracy"), quality_of("bleu")
LIMITS = st.builds(
    Budget,
    st.fixed_dictionaries(
        {},
        optional={
            "packed_bytes": st.integers(1, 10**9),
            "latency_ms": st.floats(1e-3, 1e4),
            "macs": st.integers(1, 10**9),
        },
    ),
    st.none() | st.floats(0, 100),
)
RESULTS = st.fixed_dictionaries(
    {"packed_bytes": st.integers(1, 10**9)},
    optional={
        "latency_ms": st.none() | st.floats(0, 1e4),
        "macs": st.integers(0, 10**9) | st.just(math.nan),
        "validation_accuracy": st.floats(0, 1) | st.just(math.nan),
    },
)


@given(LIMITS, RESULTS, st.floats(0, 1))
def test_constraints_hold_where_nothing_is_exceeded(budget, result, teacher):
    constraints = budget.constraints(result, ACCURACY, teacher)
    assert all(math.isfinite(value) for value in constraints.values())
    assert len(constraints) == len(budget.limits) + (budget.max_drop is not None)
    # Within a rounding error of the limit the two may differ.
    if all(abs(value) > 1e-9 for value in constraints.values()):
        assert (max(constraints.values(), default=0.0) > 0) == bool(
            budget.exceeded(result, ACCURACY, teacher)
        )


def known(value):
    return math.nan if value is None else value


@given(LIMITS, st.lists(RESULTS), st.floats(0, 1) | st.just(math.nan))
def test_whole_columns_are_within_where_no_row_exceeds(budget, results, teacher):
    names = ("packed_bytes", "latency_ms", "macs", "validation_accuracy")
    columns = {
        name: [math.nan if (value := row.get(name)) is None else value for row in results] for name in names
    }
    expected = [not budget.exceeded(row, ACCURACY, teacher) for row in results]
    assert budget.within(columns, ACCURACY, teacher) == expected


def test_an_endless_cost_or_quality_is_not_within():
    columns = {"latency_ms": [-math.inf, 1.0], "validation_accuracy": [0.9, math.inf]}
    assert Budget({"latency_ms": 2}).within(columns, ACCURACY, 0.9) == [False, True]
    assert Budget(max_drop=1).within(columns, ACCURACY, 0.9) == [True, False]


@given(LIMITS, RESULTS, st.floats(0, 1))
def test_what_is_sure_before_training_is_over_the_limits_afterwards(budget, result, teacher):
    if budget.sure_before_training(result, ACCURACY):
        assert budget.exceeded(result, ACCURACY, teacher)
    assert not budget.sure_before_training({"validation_accuracy": 0.0}, ACCURACY)
    assert not NO_LIMITS.exceeded(result, ACCURACY, teacher) and not NO_LIMITS.text(ACCURACY)


def test_a_size_that_coding_may_still_bring_down_is_let_train():
    budget = Budget({"packed_bytes": 900})
    assert budget.sure_before_training({"packed_bytes": 1500}, ACCURACY) == ""
    assert "1,600 bytes, 700 more than 900" in budget.sure_before_training({"packed_bytes": 1600}, ACCURACY)


def test_what_training_leaves_as_it_is_decides_at_once_and_what_it_decides_does_not():
    budget = Budget({"macs": 1000, "mean_bits": 4.0})
    assert budget.sure_before_training({"macs": 1000, "mean_bits": 32.0}, ACCURACY) == ""
    assert budget.sure_before_training({"macs": 1001, "mean_bits": 32.0}, ACCURACY) == (
        "its multiply-adds are 1,001, 1 more than 1,000"
    )


@given(LIMITS)
def test_mlflow_keeps_a_budget(budget):
    assert Budget.from_params(flatten(budget.params())) == budget
    assert Budget.from_params({"study": "digits"}) == NO_LIMITS


def test_limits_of_an_older_version_are_not_lifted():
    with pytest.raises(ValueError, match=r"^max_bytes is what an older version of Rayduce wrote$"):
        Budget.from_params({"max_bytes": "16000", "max_latency_ms": "None"})
    assert Budget.from_params({"max_bytes": "None", "max_latency_ms": "None"}) == NO_LIMITS


def test_the_sentences():
    budget = Budget({"packed_bytes": 10_000, "latency_ms": 0.5, "macs": 2_000_000}, 1.0)
    assert budget.text(ACCURACY) == (
        "at most 10 kB packed size, 0.5 ms latency, 2,000,000 multiply-adds, "
        "1 point of validation accuracy below the teacher"
    )
    result = {"packed_bytes": 12_300, "latency_ms": 0.52, "macs": 2_000_001, "validation_accuracy": 0.976}
    assert budget.exceeded(result, ACCURACY, 0.99) == (
        "its packed size is 12,300 bytes, 2,300 more than 10,000; "
        "its latency is 0.52 ms, 0.02 more than 0.5; "
        "its multiply-adds are 2,000,001, 1 more than 2,000,000; "
        "it loses 1.4 points of accuracy to the teacher, 0.4 more than 1"
    )
    assert budget.exceeded({"macs": math.nan}, ACCURACY, 0.99) == (
        "its packed size was not measured; its latency was not measured; its multiply-adds were not "
        "measured; its accuracy was not measured beside the teacher's"
    )


def test_what_a_sweep_measures_beside_the_known_costs_can_be_limited():
    energy = Metric("board_energy_mj", "energy on board", "down", "mJ", "Of one input.")
    quality = replace(ACCURACY, costs=(energy,))
    assert "board_energy_mj" in minimizable(quality) and "board_energy_mj" not in minimizable(ACCURACY)
    budget = Budget({"board_energy_mj": 11})
    assert budget.exceeded({"board_energy_mj": 12.5}, quality, 0.9) == (
        "its energy on board is 12.5 mJ, 1.5 more than 11"
    )
    assert budget.constraints({}, quality, 0.9) == {"board_energy_mj": 1.0}
    assert budget.sure_before_training({"board_energy_mj": 99}, quality) == ""


def test_a_cost_that_nobody_reports_and_one_of_which_more_is_better_are_refused():
    with pytest.raises(ValueError, match=r"no such metric: use one of packed_bytes, .*latency_ms, macs"):
        cost_of(ACCURACY, "latency_beam_ms")
    assert cost_of(BLEU, "latency_beam_ms").unit == "ms"
    with pytest.raises(ValueError, match="more of it is better"):
        cost_of(ACCURACY, "sparsity")


def test_a_point_is_what_the_quality_says():
    one = Budget(max_drop=1)
    assert not one.exceeded({"validation_accuracy": 0.56}, ACCURACY, 0.57)
    assert one.exceeded({"validation_accuracy": 0.5599}, ACCURACY, 0.57)
    assert not one.exceeded({"validation_bleu": 33.0}, BLEU, 34.0)
    assert one.exceeded({"validation_bleu": 32.9}, BLEU, 34.0)
    none = Budget(max_drop=0)
    assert not none.exceeded({"validation_bleu": 34.0}, BLEU, 34.0)
    assert not none.exceeded({"validation_bleu": 35.0}, BLEU, 34.0)
    assert none.exceeded({"validation_bleu": 35.0}, BLEU, math.nan)


@pytest.mark.parametrize("limit", [0, 0.0, -1, math.inf, math.nan, "1", True, None])
def test_limits_out_of_range_are_refused(limit):
    with pytest.raises(ValueError, match="latency_ms must be limited to a number above 0"):
        Budget({"latency_ms": limit})
    with pytest.raises(ValueError):
        Budget.from_params({"limits.latency_ms": "much"})


@pytest.mark.parametrize("drop", [-0.1, math.inf, math.nan])
def test_drops_out_of_range_are_refused(drop):
    with pytest.raises(ValueError, match=f"max_drop must .*{drop}"):
        Budget(max_drop=drop)
    with pytest.raises(ValueError):
        Budget.from_params({"max_drop": "much"})
