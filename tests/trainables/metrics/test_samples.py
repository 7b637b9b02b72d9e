"""Qualities of all samples, beside scikit-learn's."""

import numpy as np
import pytest
from sklearn import metrics as reference

from trainables.metrics import quality_of
from trainables.metrics import samples as ours
from trainables.metrics.samples import OF_CLASSES, OF_NUMBERS


def drawn(classes, seed, count=300):
    random = np.random.default_rng(seed)
    targets = random.choice(classes, size=count, p=random.dirichlet(np.ones(classes)))
    outputs = random.normal(size=(count, classes)).astype(np.float32)
    outputs[np.arange(count), targets] += 1
    return outputs, targets.astype(np.int64)


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("seed", range(4))
def test_they_are_those_of_scikit_learn(classes, seed):
    outputs, targets = drawn(classes, seed)
    chosen = outputs.argmax(1)
    assert ours.accuracy(outputs, targets) == pytest.approx(reference.accuracy_score(targets, chosen))
    assert ours.macro_f1(outputs, targets) == pytest.approx(
        reference.f1_score(targets, chosen, average="macro")
    )
    assert ours.balanced_accuracy(outputs, targets) == pytest.approx(
        reference.recall_score(targets, chosen, average="macro", labels=np.unique(targets))
    )
    soft = np.exp(outputs.astype(np.float64))
    soft /= soft.sum(1, keepdims=True)
    areas = [
        reference.roc_auc_score(targets == label, soft[:, label])
        for label in range(classes)
        if (targets == label).any()
    ]
    found = ours.area_by_class(outputs, targets)
    assert found[~np.isnan(found)] == pytest.approx(areas)
    assert ours.area_under_curve(outputs, targets) == pytest.approx(np.mean(areas))


def test_classes_that_no_sample_has_count_nothing():
    outputs = np.array([[3.0, 0, 0], [2, 1, 0], [0, 2, 1]], dtype=np.float32)
    targets = np.array([0, 0, 1])
    assert ours.macro_f1(outputs, targets) == ours.balanced_accuracy(outputs, targets) == 1.0
    assert np.isnan(ours.f1_by_class(outputs, targets)[2])
    assert ours.area_under_curve(outputs, targets) == 1.0
    assert ours.area_under_curve(outputs[:2], targets[:2]) == 0.5  # one class: nothing to tell apart


def test_what_was_never_found_is_zero():
    outputs = np.array([[1.0, 0], [1, 0]], dtype=np.float32)
    targets = np.array([0, 1])
    assert ours.f1_by_class(outputs, targets) == pytest.approx([2 / 3, 0])
    assert ours.recall_by_class(outputs, targets).tolist() == [1.0, 0.0]
    assert ours.area_by_class(outputs, targets).tolist() == [0.5, 0.5]


def test_errors_of_numbers():
    outputs, targets = np.array([[1.0], [2.0]], dtype=np.float32), np.array([[0.0], [4.0]])
    assert ours.mean_absolute_error(outputs, targets) == 1.5
    assert ours.mean_squared_error(outputs, targets) == 2.5


def test_every_one_has_a_direction_and_a_name():
    for name in {**OF_CLASSES, **OF_NUMBERS}:
        quality = quality_of(name)
        assert quality.up == (name in OF_CLASSES)
        assert (quality.unit, quality.scale) == (("%", 100.0) if quality.up else ("", 1.0))
