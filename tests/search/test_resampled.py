"""Intervals by drawing samples again, against scikit-learn and the bootstrap that draws each sample."""

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from search.objectives.certainty import bootstrap, has_intervals
from search.objectives.on_split import most_lost, on_split
from search.objectives.resampled import intervals, kept_interval
from trainables.metrics import quality_of

RANDOM = np.random.default_rng(3)
TRUE = RANDOM.integers(0, 5, 400)
TEACHER = np.where(RANDOM.random(400) < 0.04, (TRUE + 1) % 5, TRUE)
STUDENT = np.where(RANDOM.random(400) < 0.10, (TRUE + 2) % 5, TEACHER)


def of(name: str, true: np.ndarray, said: np.ndarray) -> float:
    if name == "macro_f1":
        return float(f1_score(true, said, average="macro"))
    return float(balanced_accuracy_score(true, said))


@pytest.mark.parametrize("name", ["macro_f1", "balanced_accuracy"])
def test_drawing_counts_is_drawing_samples(name: str) -> None:
    quality = quality_of(name)
    found = intervals(quality, TRUE, STUDENT, TEACHER)
    own = bootstrap(lambda true, said: of(name, true, said), TRUE, STUDENT, resamples=600, seed=1)
    lost = bootstrap(
        lambda true, said, by: of(name, true, by) - of(name, true, said),
        *(TRUE, STUDENT, TEACHER),
        resamples=600,
        seed=1,
    )
    ends = [found[each] for each in ("quality_low", "quality_high", "lost_low", "lost_high")]
    assert ends == pytest.approx([own.low, own.high, lost.low, lost.high], abs=0.006)
    value = of(name, TRUE, STUDENT)
    assert found["quality_low"] < value < found["quality_high"]
    assert found["lost_low"] > 0, "it loses, and that is sure"
    paired, apart = found["lost_high"] - found["lost_low"], found["quality_high"] - found["quality_low"]
    assert paired < 1.2 * apart
    assert intervals(quality, TRUE, TEACHER).keys() == {"quality_low", "quality_high"}


def test_what_classes_do_not_decide_has_none() -> None:
    for name in ("accuracy", "area_under_curve", "bleu"):
        assert intervals(quality_of(name), TRUE, STUDENT, TEACHER) == {}
    assert intervals(quality_of("macro_f1"), TRUE[:0], STUDENT[:0]) == {}


def test_a_class_that_a_draw_lacks_is_left_out_of_it() -> None:
    true = np.array([0] * 30 + [1])
    found = intervals(quality_of("balanced_accuracy"), true, true)
    assert (found["quality_low"], found["quality_high"]) == (1.0, 1.0)


def test_what_was_drawn_is_shown_and_students_are_chosen_by_it() -> None:
    quality = quality_of("macro_f1")
    drawn = intervals(quality, TRUE, STUDENT, TEACHER)
    row = {f"validation_{name}": value for name, value in drawn.items()}
    row["validation_macro_f1"] = of("macro_f1", TRUE, STUDENT)
    teacher = {"validation_macro_f1": of("macro_f1", TRUE, TEACHER), "validation_quality_low": 0.9}
    found = on_split(row, teacher, quality, "validation_")
    assert found is not None and found.between is not None and found.lost_between is not None
    assert found.between.low == drawn["quality_low"]
    assert found.lost_between.high == pytest.approx(100 * drawn["lost_high"])
    assert most_lost(row, teacher, quality) == found.most_lost
    assert has_intervals(teacher, quality, "validation_") and not has_intervals(teacher, quality, "")
    del row["validation_lost_low"]
    assert most_lost(row, teacher, quality) == float("inf")
    for odd in (float("nan"), None, "0.5", 2.0):
        assert kept_interval({"quality_low": odd, "quality_high": 1.0}, "") is None
