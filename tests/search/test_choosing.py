"""Which student to ship: the rule that the front page and the terminal share."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from search.objectives.budget import Budget
from search.objectives.choosing import (
    choose,
    first_budget,
    in_short,
    limits_in_words,
    why_this,
    with_wishes,
)
from trainables.metrics import quality_of

ACCURACY = quality_of("accuracy")
TEACHER = {"validation_accuracy": 0.98, "accuracy": 0.97, "validation_samples": 1000.0, "samples": 1000.0}


def student(name: str, size: float, lost: int, gained: int = 0, **more: Any) -> dict[str, Any]:
    """One that gets ``lost`` of 1,000 samples wrong that the teacher gets right, and ``gained`` likewise."""
    value = 0.98 - (lost - gained) / 1000
    row = {"run_id": name * 32, "name": name, "state": "finished", "packed_bytes": size, "latency_ms": 0.2}
    counts = {"validation_lost_answers": lost, "validation_gained_answers": gained}
    return {**row, "validation_accuracy": value, "accuracy": None, **counts, **more}


ROWS = [
    student("a", 4000, 60),
    student("b", 8000, 9, latency_ms=0.5),
    student("c", 16000, 2, 1),
    student("d", 30000, 0),
]


def chosen(budget: Budget, rows: Any = ROWS) -> Any:
    return choose(pd.DataFrame(rows), ACCURACY, TEACHER, budget, "packed_bytes")


def test_the_smallest_that_is_surely_within_what_may_be_lost() -> None:
    found = chosen(Budget(max_drop=1.0))
    assert found.student["name"] == "c" and found.sure is True
    assert found.bolder["name"] == "b", "it loses 0.9 points as measured, and perhaps 1.6"
    text = why_this(found, ACCURACY, Budget(max_drop=1.0))
    assert "95 % sure" in text and "b is within it too, and smaller" in text


def test_where_none_is_sure_it_is_the_smallest_as_measured_and_says_so() -> None:
    found = chosen(Budget({"packed_bytes": 9000}, 1.0))
    assert found.student["name"] == "b" and found.sure is False and found.bolder is None
    assert "None is 95 % sure to lose no more" in why_this(
        found, ACCURACY, Budget({"packed_bytes": 9000}, 1.0)
    )


def test_without_a_limit_on_what_is_lost_it_is_the_best_that_fits() -> None:
    assert chosen(Budget({"packed_bytes": 16000})).student["name"] == "c"
    assert chosen(Budget({"packed_bytes": 16000, "latency_ms": 0.1})).student is None
    assert chosen(Budget()).student["name"] == "d"


def test_of_two_that_are_as_good_it_is_the_smaller() -> None:
    assert chosen(Budget(), [*ROWS, student("e", 20000, 0)]).student["name"] == "e"


def test_trials_that_ended_early_and_students_that_learnt_nothing_are_no_choice() -> None:
    rows = [
        student("a", 10, 0, state="pruned"),
        student("b", 20, 980),
        student("c", 30, 0, packed_bytes=None),
    ]
    found = chosen(Budget(max_drop=100.0), rows)
    assert found.student is None and found.none == "No student has finished yet."


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (
            Budget({"packed_bytes": 3000}),
            "nearest is a: its packed size is 4,000 bytes, 1,000 more than 3,000",
        ),
        (Budget({"packed_bytes": 5000}, 1.0), "within 1 point; the nearest, a, loses 6.00 points"),
    ],
)
def test_if_none_fits_it_says_which_is_nearest(budget: Budget, words: str) -> None:
    assert words in chosen(budget).none


def test_without_counts_nothing_is_said_to_be_sure() -> None:
    rows = [student("a", 10, 5, validation_lost_answers=None)]
    found = chosen(Budget(max_drop=1.0), rows)
    assert found.student["name"] == "a" and found.sure is None
    assert found.told.split == "validation" and found.told.lost_text() == "0.50 points"
    assert "% sure" not in why_this(found, ACCURACY, Budget(max_drop=1.0)).partition("In brackets")[0]


def test_what_is_told_is_of_the_test_split_where_that_was_measured() -> None:
    found = chosen(Budget(), [student("a", 10, 5, accuracy=0.96, lost_answers=12, gained_answers=2)])
    assert (found.told.split, found.chosen.split) == ("test", "validation")
    assert found.told.lost_text().startswith("1.00 points (")


def test_where_the_test_split_goes_beyond_the_limit_the_sentence_says_so() -> None:
    limit = Budget(max_drop=1.0)

    def told(**test: Any) -> tuple[str, str]:
        found = chosen(limit, [student("a", 10, 2, 1, **test)])
        return in_short(found, ACCURACY, limit), why_this(found, ACCURACY, limit)

    by = "he smallest of at most 1 point lost, chosen on validation, 95 % sure"
    within = told(accuracy=0.97, lost_answers=1, gained_answers=1)
    assert within[0] == f"t{by}" and within[1].startswith(f"T{by}. ")
    beyond = told(accuracy=0.959, lost_answers=12, gained_answers=1)
    assert beyond[0] == f"t{by}; on test it may lose up to 1.85"
    assert beyond[1].startswith(f"T{by}; on test it may lose up to 1.85. ")
    assert told(accuracy=0.95)[0] == f"t{by}; on test it loses 2.00 points"
    free = Budget({"packed_bytes": 20.0})
    assert in_short(chosen(free, [student("a", 10, 2, accuracy=0.9)]), ACCURACY, free) == (
        "the best of at most 20 B packed size, chosen on validation"
    )


def test_limits_begin_with_the_sweeps_own() -> None:
    assert first_budget(Budget()) == Budget(max_drop=1.0)
    own = Budget({"packed_bytes": 30_000, "latency_ms": 1.0}, 2.0)
    assert first_budget(own) == own
    asked = with_wishes(own, Budget({"packed_bytes": 16_000}))
    assert asked == Budget({"packed_bytes": 16_000, "latency_ms": 1.0}, 2.0)
    assert with_wishes(Budget(), Budget({"packed_bytes": 16_000})) == Budget({"packed_bytes": 16_000})
    assert limits_in_words(asked, ACCURACY) == "at most 16 kB packed size, 1 ms latency and 2 points lost"
    assert limits_in_words(Budget(), ACCURACY) == "no limits"
