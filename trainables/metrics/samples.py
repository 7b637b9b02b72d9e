"""Qualities as pure functions of the answers to all samples and of what was right. Loads no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

Score = Callable[[np.ndarray, np.ndarray], float]
"""Of outputs, one row for each sample, and of targets."""


def accuracy(outputs: np.ndarray, targets: np.ndarray) -> float:
    """The share of samples whose largest output is that of their class.

    Args:
        outputs: logits or probabilities, shape (n, classes).
        targets: int64, shape (n,).
    """
    return float((outputs.argmax(1) == targets).mean())


def f1_by_class(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """F1 of each class, the harmonic mean of precision and recall; shape (classes,).

    It is NaN for a class that no sample has and that none was taken for, and 0 where none was found.
    """
    right, chosen, there = _counts(outputs, targets)
    with np.errstate(invalid="ignore"):
        return np.asarray(2 * right / (chosen + there))


def macro_f1(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Mean of :func:`f1_by_class` over the classes that samples have or were taken for."""
    return float(np.nanmean(f1_by_class(outputs, targets)))


def recall_by_class(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The share of each class that was found, shape (classes,); NaN for a class that no sample has."""
    right, _, there = _counts(outputs, targets)
    with np.errstate(invalid="ignore"):
        return np.asarray(right / there)


def balanced_accuracy(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Mean of :func:`recall_by_class` over the classes that samples have (Brodersen et al. 2010)."""
    return float(np.nanmean(recall_by_class(outputs, targets)))


def area_by_class(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Area under the receiver operating characteristic of each class against all others, shape (classes,).

    The probability that a sample of the class gets a larger share of the softmax for it than a sample of
    another one, ties counting half (Hanley & McNeil 1982). It is NaN for a class that all samples have, or
    none.

    Args:
        outputs: logits, shape (n, classes).
        targets: int64, shape (n,).
    """
    scores = _softmax(outputs)
    areas = np.full(outputs.shape[1], np.nan)
    for label in range(outputs.shape[1]):
        own = targets == label
        count = int(own.sum())
        if 0 < count < len(own):
            ranks = _ranks(scores[:, label])
            areas[label] = (ranks[own].sum() - count * (count + 1) / 2) / (count * (len(own) - count))
    return areas


def area_under_curve(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Mean of :func:`area_by_class` over the classes that it exists for; 0.5 where it exists for none.

    Of two classes it is the usual area of either.
    """
    areas = area_by_class(outputs, targets)
    return 0.5 if np.isnan(areas).all() else float(np.nanmean(areas))


def ranks(outputs: np.ndarray) -> np.ndarray:
    """Where each sample stands by its share of the softmax for each class, from 0; equals share a place.

    It is all that :func:`area_by_class` looks at.

    Args:
        outputs: logits, shape (n, classes).

    Returns:
        int64, of the same shape.
    """
    places = [np.unique(column, return_inverse=True)[1] for column in _softmax(outputs).T]
    return np.stack(places, 1).astype(np.int64)


def absolute_errors(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Mean distance of each sample's outputs from its targets, float64, shape (n,)."""
    return np.asarray(np.abs(outputs.astype(np.float64) - targets).reshape(len(outputs), -1).mean(1))


def squared_errors(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Mean squared distance of each sample's outputs from its targets, float64, shape (n,)."""
    return np.asarray(np.square(outputs.astype(np.float64) - targets).reshape(len(outputs), -1).mean(1))


def mean_absolute_error(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Mean distance of outputs from targets of the same shape."""
    return float(np.abs(outputs.astype(np.float64) - targets).mean())


def mean_squared_error(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Mean squared distance of outputs from targets of the same shape."""
    return float(np.square(outputs.astype(np.float64) - targets).mean())


OF_CLASSES: Mapping[str, Score] = {
    "accuracy": accuracy,
    "macro_f1": macro_f1,
    "balanced_accuracy": balanced_accuracy,
    "area_under_curve": area_under_curve,
}
"""By the name of the quality; outputs are logits, (n, classes), and targets the numbers of classes, (n,)."""

OF_NUMBERS: Mapping[str, Score] = {
    "mean_absolute_error": mean_absolute_error,
    "mean_squared_error": mean_squared_error,
}
"""By the name of the quality; outputs and targets have one shape, the first axis of which counts samples."""


def _counts(outputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """By class how many samples were taken for it rightly, were taken for it, and are of it."""
    classes, chosen = outputs.shape[1], outputs.argmax(1)
    right = np.bincount(targets[chosen == targets], minlength=classes)
    return right, np.bincount(chosen, minlength=classes), np.bincount(targets, minlength=classes)


def _softmax(outputs: np.ndarray) -> np.ndarray:
    logits = outputs.astype(np.float64)
    scores = np.exp(logits - logits.max(1, keepdims=True))
    return np.asarray(scores / scores.sum(1, keepdims=True))


def _ranks(values: np.ndarray) -> np.ndarray:
    """From 1, ascending; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[place])
