"""Intervals by drawing samples again, against scikit-learn, sacreBLEU and the bootstrap of each sample."""

from typing import Any

import numpy as np
import pytest
from sacrebleu.metrics import BLEU
from sklearn.metrics import balanced_accuracy_score, f1_score

from search.objectives.certainty import bootstrap, has_intervals
from search.objectives.on_split import most_lost, on_split
from search.objectives.resampled import intervals, kept_interval
from tests.trainables.metrics.test_evidence import given, kept, logits, sentences
from trainables.metrics import quality_of
from trainables.metrics.evidence import EVIDENCE
from trainables.metrics.samples import area_under_curve
from trainables.predictions import Answers

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
    found = intervals(quality, Answers(STUDENT, TRUE), Answers(TEACHER, TRUE))
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
    assert intervals(quality, Answers(TEACHER, TRUE)).keys() == {"quality_low", "quality_high"}


def test_where_what_decides_is_not_kept_there_is_none() -> None:
    for name in ("accuracy", "area_under_curve", "bleu", "mean_squared_error"):
        assert intervals(quality_of(name), Answers(STUDENT, TRUE), Answers(TEACHER, TRUE)) == {}
    for own in (Answers(STUDENT[:0], TRUE[:0]), Answers(STUDENT[:9], TRUE), Answers(STUDENT), Answers()):
        assert intervals(quality_of("macro_f1"), own) == {}
    mine, teachers = kept("bleu", *sentences(9, 0)), kept("bleu", *sentences(8, 0))
    assert intervals(quality_of("bleu"), mine, teachers) == {}


@pytest.mark.parametrize("name", EVIDENCE)
def test_who_answers_as_the_teacher_loses_nothing_and_order_means_nothing(name: str) -> None:
    quality, teacher = quality_of(name), kept(name, *given(name))
    other = kept(name, given(name, 1)[0], given(name)[1])
    same = intervals(quality, teacher, teacher)
    assert (same["lost_low"], same["lost_high"]) == (0.0, 0.0)
    assert same["quality_low"] < same["quality_high"]
    mixed = np.random.default_rng(0).permutation(60)
    found = intervals(quality, other, teacher)
    assert intervals(quality, other.rows(mixed), teacher.rows(mixed)) == found
    assert found["lost_low"] < found["lost_high"]


def test_a_mean_has_the_interval_that_theory_gives() -> None:
    random = np.random.default_rng(0)
    errors = random.exponential(size=(2_000, 1)).astype(np.float32)
    table = EVIDENCE["mean_absolute_error"].table(errors, np.zeros((2_000, 1)))
    found = intervals(quality_of("mean_absolute_error"), Answers(table=table))
    half = 1.96 * errors.std() / np.sqrt(2_000)
    assert found["quality_low"] == pytest.approx(errors.mean() - half, abs=0.1 * half)
    assert found["quality_high"] == pytest.approx(errors.mean() + half, abs=0.1 * half)


def test_fewer_errors_than_the_teacher_is_a_loss_below_zero() -> None:
    errors = np.random.default_rng(0).exponential(size=(300, 1)).astype(np.float32)
    own, teacher = (EVIDENCE["mean_absolute_error"].table(each, 0 * each) for each in (errors, 2 * errors))
    found = intervals(quality_of("mean_absolute_error"), Answers(table=own), Answers(table=teacher))
    assert found["lost_high"] < 0


def test_bleu_has_the_interval_of_sacrebleu() -> None:
    translations, references = sentences(150, 2)
    found = intervals(quality_of("bleu"), kept("bleu", translations, references))
    theirs: Any = BLEU().corpus_score(translations, [references], n_bootstrap=2_000)
    assert (found["quality_high"] - found["quality_low"]) / 2 == pytest.approx(theirs._ci, rel=0.07)
    assert (found["quality_high"] + found["quality_low"]) / 2 == pytest.approx(theirs._mean, abs=0.3)


def test_an_area_has_the_interval_of_samples_that_are_drawn() -> None:
    outputs, targets = logits(120, 3, 4)
    other = outputs + np.random.default_rng(1).normal(size=outputs.shape).astype(np.float32)
    quality = quality_of("area_under_curve")
    found = intervals(quality, kept(quality.name, other, targets), kept(quality.name, outputs, targets))
    lost = bootstrap(
        lambda ours, theirs, true: area_under_curve(theirs, true) - area_under_curve(ours, true),
        *(other, outputs, targets),
        resamples=1_000,
        seed=1,
    )
    assert [found["lost_low"], found["lost_high"]] == pytest.approx([lost.low, lost.high], abs=0.012)


def test_a_class_of_a_large_number_costs_no_memory() -> None:
    true = TRUE.copy()
    true[0] = 2**31 - 1
    found = intervals(quality_of("macro_f1"), Answers(STUDENT, true))
    assert 0 < found["quality_low"] < found["quality_high"] < 1


def test_a_class_that_a_draw_lacks_is_left_out_of_it() -> None:
    true = np.array([0] * 30 + [1])
    found = intervals(quality_of("balanced_accuracy"), Answers(true, true))
    assert (found["quality_low"], found["quality_high"]) == (1.0, 1.0)


def test_what_was_drawn_is_shown_and_students_are_chosen_by_it() -> None:
    quality = quality_of("macro_f1")
    drawn = intervals(quality, Answers(STUDENT, TRUE), Answers(TEACHER, TRUE))
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


@pytest.mark.parametrize("name", EVIDENCE)
def test_what_came_from_another_process_cannot_be_written_to(name: str) -> None:
    own, teacher = (kept(name, given(name, seed)[0], given(name)[1]) for seed in (1, 0))
    before = intervals(quality_of(name), own, teacher)
    for each in (own, teacher):
        for column in each:
            if column is not None:
                column.flags.writeable = False
    assert intervals(quality_of(name), own, teacher) == before
