"""Intervals and paired tests: against published values, against SciPy, and by what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from search.objectives.certainty import (
    Interval,
    Paired,
    bootstrap,
    compared,
    samples_of,
    share_interval,
    undecided,
    wilson,
)
from search.objectives.on_split import no_interval, on_split, reported
from trainables.metrics import own_quality, quality_of

ACCURACY = quality_of("accuracy")
COUNTS = st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(1, 400)).map(
    lambda each: (each[0], each[1], max(sum(each[:2]), each[2]))
)


@pytest.mark.parametrize(
    ("right", "samples", "low", "high"),
    [
        (9000, 10000, 0.8940, 0.9057),
        (470, 500, 0.9156, 0.9577),
        (297, 300, 0.9710, 0.9966),
        (300, 300, 0.9874, 1.0),
        (0, 10, 0.0, 0.2775),
    ],
)
def test_wilson_has_its_published_values(right: int, samples: int, low: float, high: float) -> None:
    found = wilson(right, samples)
    assert (round(found.low, 4), round(found.high, 4)) == (low, high)
    theirs = binomtest(right, samples).proportion_ci(0.95, "wilson")
    assert found.low == pytest.approx(theirs.low, abs=1e-12)
    assert found.high == pytest.approx(theirs.high, abs=1e-12)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_what_was_seen_is_inside_and_never_certain(counts: tuple[int, int]) -> None:
    right, samples = counts
    found = wilson(right, samples)
    assert 0 <= found.low <= right / samples <= found.high <= 1
    assert found.high - found.low > 0


@pytest.mark.parametrize(("right", "samples"), [(-1, 10), (11, 10), (0, 0)])
def test_shares_that_cannot_be_are_refused(right: int, samples: int) -> None:
    with pytest.raises(ValueError, match=f"{right=}"):
        wilson(right, samples)


@pytest.mark.parametrize(
    ("lost", "gained", "chance"),
    [(40, 25, 0.0640), (12, 5, 0.0963), (0, 0, 1.0), (3, 3, 0.6875), (8, 0, 0.0039)],
)
def test_mcnemar_is_the_mid_p_value(lost: int, gained: int, chance: float) -> None:
    assert round(Paired(lost, gained, 1000).chance(), 4) == chance


@given(COUNTS)
def test_without_the_half_it_is_the_exact_test(counts: tuple[int, int, int]) -> None:
    lost, gained, _ = counts
    if lost + gained:
        theirs = binomtest(min(lost, gained), lost + gained, 0.5).pvalue
        seen = binom.pmf(min(lost, gained), lost + gained, 0.5)
        assert Paired(*counts).chance() == pytest.approx(theirs - seen, rel=1e-9)


@given(COUNTS)
def test_the_test_does_not_mind_who_is_first(counts: tuple[int, int, int]) -> None:
    lost, gained, samples = counts
    one, other = Paired(lost, gained, samples), Paired(gained, lost, samples)
    assert one.chance() == other.chance() and 0 < one.chance() <= 1
    assert one.interval() == Interval(-other.interval().high, -other.interval().low)


@given(COUNTS)
def test_the_difference_is_inside_its_interval_which_has_a_width(counts: tuple[int, int, int]) -> None:
    pair = Paired(*counts)
    found = pair.interval()
    assert -1 <= found.low <= pair.difference <= found.high <= 1
    assert found.high - found.low > 0


def test_the_interval_of_a_difference_holds_it_as_often_as_it_says() -> None:
    random, held = np.random.default_rng(0), 0
    for _ in range(2000):
        lost, gained, _ = random.multinomial(360, [0.02, 0.01, 0.97])
        found = Paired(int(lost), int(gained), 360).interval()
        held += found.low <= -0.01 <= found.high
    assert 0.94 <= held / 2000 <= 0.98


def test_pairs_count_where_exactly_one_is_right() -> None:
    assert Paired.of([1, 1, 0, 0, 1], [1, 0, 1, 0, 0]) == Paired(2, 1, 5)
    with pytest.raises(ValueError, match="same samples"):
        Paired.of([True], [True, False])
    with pytest.raises(ValueError, match="counts"):
        Paired(3, 3, 5)


def test_a_bootstrap_of_accuracy_is_nearly_wilsons_interval() -> None:
    right = np.arange(500) < 470
    found = bootstrap(lambda each: float(each.mean()), right)
    assert found.low == pytest.approx(0.9156, abs=0.01) and found.high == pytest.approx(0.9577, abs=0.01)
    assert bootstrap(lambda each: float(each.mean()), right) == found
    with pytest.raises(ValueError, match="equally many"):
        bootstrap(lambda one, other: 0.0, right, right[1:])


def test_a_bootstrap_of_two_networks_draws_samples_with_both_answers() -> None:
    one = np.arange(300) < 280
    found = bootstrap(lambda a, b: float(a.mean() - b.mean()), one, one)
    assert found == Interval(0.0, 0.0)  # and why Paired.interval is no bootstrap


def test_only_a_share_in_a_range_of_one_has_samples() -> None:
    known = {"validation_samples": 360.0, "samples": 2.5}
    assert samples_of(known, ACCURACY, "validation_") == 360
    assert samples_of(known, ACCURACY, "") is None
    assert samples_of(known, quality_of("bleu"), "validation_") is None
    assert share_interval(None, 360) is None and share_interval(0.5, None) is None


@pytest.mark.parametrize("lost", [None, float("nan"), -1, 400, 200])
def test_counts_that_cannot_be_are_none(lost: float | None) -> None:
    row = {"validation_lost_answers": lost, "validation_gained_answers": 200}
    assert compared(row, 360, "validation_") is None


def test_students_that_chance_may_have_put_in_order_are_undecided() -> None:
    few = np.arange(360) < 330
    more, most = np.arange(360) < 332, np.arange(360) < 350
    assert undecided([few, more, most, None, few]) == [False, True, False, False, False]


ROW = {
    "validation_accuracy": 0.95,
    "accuracy": 0.94,
    "validation_lost_answers": 12,
    "validation_gained_answers": 2,
    "lost_answers": 15,
    "gained_answers": 5,
}
TEACHER = {"validation_accuracy": 0.98, "accuracy": 0.96, "validation_samples": 360.0, "samples": 500.0}


def test_words_of_a_split_have_the_interval() -> None:
    found = on_split(ROW, TEACHER, ACCURACY, "validation_")
    assert found is not None
    assert found.value_text() == "95.00 % (92.24 to 96.81)"
    assert found.lost_text() == "3.00 points (0.62 to 4.91)"
    assert found.beside_teacher() == ", 3.00 points below the teacher's (95 % sure: 4.91 below to 0.62 below)"
    assert found.in_words() == found.value_text() + found.beside_teacher()
    assert reported(ROW, TEACHER, ACCURACY).split == "test"  # type: ignore[union-attr]


def test_without_counts_nothing_is_said_to_be_sure() -> None:
    found = on_split({"validation_bleu": 34.0}, {"validation_bleu": 35.0}, quality_of("bleu"), "validation_")
    assert found is not None and found.between is None and found.lost_between is None
    assert (found.value_text(), found.lost_text()) == ("34.00", "1.00 points")
    assert found.beside_teacher() == ", 1.00 points below the teacher's"
    assert on_split({}, TEACHER, ACCURACY, "") is None


def test_why_there_is_no_interval_is_said_of_each_kind() -> None:
    mean = own_quality("mean_quality", label="mean accuracy")
    assert "several tasks" in no_interval(mean)
    assert "of your own" in no_interval(own_quality("rmse", "down"))
    assert "was not kept" in no_interval(quality_of("bleu"))
