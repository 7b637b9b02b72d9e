"""What is kept of each sample decides a quality of any draw of the samples, exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sacrebleu.metrics import BLEU
from sklearn.metrics import roc_auc_score

from trainables.metrics.evidence import EVIDENCE
from trainables.metrics.samples import OF_CLASSES, OF_NUMBERS
from trainables.metrics.translation import bleu, bleu_counts, bleu_of_counts
from trainables.predictions import MOST_NUMBERS, MOST_ROWS, Answers

WORDS = ["the", "a", "old", "dog", "cat", "runs", "sees", "was", "in", ".", ",", "!", "12.5", "don't"]


def sentences(count: int, seed: int) -> tuple[list[str], list[str]]:
    """Translations, some of them empty or far too short, and references."""
    random = np.random.default_rng(seed)
    references = [" ".join(random.choice(WORDS, random.integers(1, 15))) for _ in range(count)]
    spoilt = [
        " ".join(word for word in line.split() if random.random() > 0.2)
        + random.choice(["", " dog", " it runs"])
        for line in references
    ]
    return ["" if random.random() < 0.05 else line for line in spoilt], references


def logits(count: int, classes: int, seed: int, rare: float = 0.02) -> tuple[np.ndarray, np.ndarray]:
    """With ties, and a class that few samples have."""
    random = np.random.default_rng(seed)
    targets = random.choice(classes, size=count, p=[rare, *[(1 - rare) / (classes - 1)] * (classes - 1)])
    outputs = random.normal(size=(count, classes)).round(1)
    outputs[np.arange(count), targets] += 1
    return outputs.astype(np.float32), targets.astype(np.int64)


def numbers(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.normal(size=(count, 2, 3)).astype(np.float32), random.normal(size=(count, 2, 3))


def given(name: str, seed: int = 0) -> tuple[Any, Any]:
    """Outputs and targets of 60 samples, as the quality takes them."""
    if name == "bleu":
        return sentences(60, seed)
    return numbers(60, seed) if name in OF_NUMBERS else logits(60, 4, seed)


def score(name: str) -> Callable[[Any, Any], float]:
    return bleu if name == "bleu" else {**OF_CLASSES, **OF_NUMBERS}[name]


def kept(name: str, outputs: Any, targets: Any) -> Answers:
    table = EVIDENCE[name].table(outputs, targets)
    return Answers(outputs.argmax(1), targets, table) if name in OF_CLASSES else Answers(table=table)


def drawn(samples: int, draws: int, seed: int) -> np.ndarray:
    """How often each sample is in each draw; the last one is of a single sample."""
    random = np.random.default_rng(seed)
    weights = np.stack(
        [np.bincount(random.integers(0, samples, samples), minlength=samples) for _ in range(draws)], 1
    )
    weights[:, -1] = samples * (np.arange(samples) == 3)
    return weights


def test_every_quality_with_a_name_but_accuracy_which_has_a_formula() -> None:
    assert {*EVIDENCE, "accuracy"} == {*OF_CLASSES, *OF_NUMBERS, "bleu"}


@pytest.mark.parametrize("name", EVIDENCE)
@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_quality_of_samples_that_are_repeated(name: str, seed: int) -> None:
    outputs, targets = given(name, seed)
    weights = drawn(60, 12, seed)
    found = EVIDENCE[name].of_draws(kept(name, outputs, targets), weights.astype(np.float32))
    for value, each in zip(found, weights.T, strict=True):
        index = np.repeat(np.arange(60), each)
        if name == "bleu":
            chosen = [outputs[place] for place in index], [targets[place] for place in index]
            assert value == bleu(*chosen)
        else:
            assert value == pytest.approx(score(name)(outputs[index], targets[index]), rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_the_area_of_two_classes_is_that_of_scikit_learn_with_weights(seed: int) -> None:
    outputs, targets = logits(80, 2, seed, rare=0.4)
    weights = drawn(80, 6, seed)[:, :-1]
    found = EVIDENCE["area_under_curve"].of_draws(
        kept("area_under_curve", outputs, targets), weights.astype(np.float32)
    )
    gaps = outputs[:, 1].astype(np.float64) - outputs[:, 0]
    for value, each in zip(found, weights.T, strict=True):
        assert value == pytest.approx(roc_auc_score(targets, gaps, sample_weight=each), abs=1e-9)


def test_bleu_of_its_counts_is_that_of_sacrebleu() -> None:
    translations, references = sentences(200, 1)
    counts = bleu_counts(translations, references)
    assert counts.shape == (200, 10)
    assert bleu_of_counts(counts.sum(0)[None]) == [BLEU().corpus_score(translations, [references]).score]
    assert bleu_of_counts(np.zeros((2, 10))).tolist() == [0.0, 0.0]
    perfect = bleu_counts(references, references)
    assert bleu_of_counts(perfect.sum(0)[None]).tolist() == [100.0]


def test_nothing_is_kept_of_what_is_too_large_or_no_number() -> None:
    ranks, errors = EVIDENCE["area_under_curve"], EVIDENCE["mean_squared_error"]
    many = np.zeros((MOST_ROWS + 1, 1), dtype=np.float32)
    assert errors.table(many, many) is None and errors.table(many[1:], many[1:]) is not None
    wide = np.zeros((4, MOST_NUMBERS // 4 + 1), dtype=np.float32)
    assert ranks.table(wide, np.zeros(4, dtype=np.int64)) is None
    for odd in (np.nan, np.inf, 1e30):
        assert errors.table(np.array([[odd], [1.0]]), np.zeros((2, 1))) is None
    assert EVIDENCE["macro_f1"].table(*logits(10, 3, 0)) is None, "classes are enough"


def test_what_another_quality_needs_decides_nothing() -> None:
    tables = {name: kept(name, *given(name)) for name in EVIDENCE}
    for name in ("bleu", "mean_absolute_error", "area_under_curve"):
        others = {"bleu": "mean_absolute_error", "mean_absolute_error": "bleu", "area_under_curve": "bleu"}
        assert EVIDENCE[name].decides(tables[name])
        assert not EVIDENCE[name].decides(tables[others[name]])
        assert not EVIDENCE[name].decides(Answers())
