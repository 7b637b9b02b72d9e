"""Limits of a student: what is over them, by how much, and what Optuna hears."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search.objectives.budget import NO_LIMITS, Budget
from trainables.metrics import quality_of

ACCURACY, BLEU = quality_of("accuracy"), quality_of("bleu")
LIMITS = st.builds(
    Budget,
    st.none() | st.integers(1, 10**9),
    st.none() | st.floats(1e-3, 1e4),
    st.none() | st.floats(0, 100),
)
RESULTS = st.fixed_dictionaries(
    {"packed_bytes": st.integers(1, 10**9)},
    optional={
        "latency_ms": st.none() | st.floats(1e-3, 1e4),
        "validation_accuracy": st.floats(0, 1) | st.just(math.nan),
    },
)


@given(LIMITS, RESULTS, st.floats(0, 1))
def test_constraints_hold_where_nothing_is_exceeded(budget, result, teacher):
    constraints = budget.constraints(result, ACCURACY, teacher)
    assert all(math.isfinite(value) for value in constraints.values())
    assert len(constraints) == sum(limit is not None for limit in budget.params().values())
    # Within a rounding error of the limit the two may differ.
    if all(abs(value) > 1e-9 for value in constraints.values()):
        assert (max(constraints.values(), default=0.0) > 0) == bool(
            budget.exceeded(result, ACCURACY, teacher)
        )


@given(LIMITS, RESULTS, st.floats(0, 1))
def test_what_is_sure_before_training_is_over_the_limits_afterwards(budget, result, teacher):
    if budget.sure_before_training(result):
        assert budget.exceeded(result, ACCURACY, teacher)
    assert not budget.sure_before_training({"validation_accuracy": 0.0})
    assert not NO_LIMITS.exceeded(result, ACCURACY, teacher) and not NO_LIMITS.text(ACCURACY)


def test_a_size_that_coding_may_still_bring_down_is_let_train():
    budget = Budget(max_bytes=900)
    assert budget.sure_before_training({"packed_bytes": 1500}) == ""
    assert "1,600 bytes, 700 more than 900" in budget.sure_before_training({"packed_bytes": 1600})


@given(LIMITS)
def test_mlflow_keeps_a_budget(budget):
    assert Budget.from_params({name: str(value) for name, value in budget.params().items()}) == budget
    assert Budget.from_params({"study": "digits"}) == NO_LIMITS


def test_the_sentences():
    budget = Budget(10_000, 0.5, 1.0)
    assert budget.text(ACCURACY) == "at most 10 kB, 0.5 ms, 1 point of validation accuracy below the teacher"
    result = {"packed_bytes": 12_300, "latency_ms": 0.52, "validation_accuracy": 0.976}
    assert budget.exceeded(result, ACCURACY, 0.99) == (
        "its packed file has 12,300 bytes, 2,300 more than 10,000; "
        "its latency is 0.52 ms, 0.02 more than 0.5; "
        "it loses 1.4 points of accuracy to the teacher, 0.4 more than 1"
    )
    assert budget.exceeded({}, ACCURACY, 0.99) == (
        "its packed file was not measured; its latency was not measured; "
        "its accuracy was not measured beside the teacher's"
    )


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


@pytest.mark.parametrize(
    "limits",
    [
        {"max_bytes": 0},
        {"max_latency_ms": 0.0},
        {"max_latency_ms": math.inf},
        {"max_drop": -0.1},
        {"max_drop": math.inf},
    ],
)
def test_limits_out_of_range_are_refused(limits):
    [(name, value)] = limits.items()
    with pytest.raises(ValueError, match=f"{name} must .*{value}"):
        Budget(**limits)
    with pytest.raises(ValueError):
        Budget.from_params({name: "much"})
