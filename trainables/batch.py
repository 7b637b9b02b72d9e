"""What one step of training sees of the data."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """What one step sees.

    ``inputs`` (a tensor, or what else the task's networks take, such as
    :class:`~trainables.translation.sentences.Sentences`) and ``targets`` are on the training device;
    ``index`` (int64, shape (n,)) are the samples' numbers within their split. ``view`` is the shared
    augmentation view they are seen in, so that (split, view, index) names an input exactly, in every run on
    the task; None is a view that is the run's own, or no augmentation.

    ``counted`` says which rows of a network's output are of the data and not of padding: int64, shape
    (rows,), ascending numbers of rows of the output as it is flattened to (..., classes); None is all.
    ``classes`` is False where outputs are no logits of classes: then a row is a sample's whole output.
    ``task`` is the number of the task that the samples are of, where several are learnt together.
    """

    inputs: Any
    targets: Tensor
    index: Tensor  # type: ignore[assignment]  # hides tuple.index, which nobody asks of a batch
    view: int | None
    counted: Tensor | None = None
    classes: bool = True
    task: int = 0

    def rows(self, output: Tensor) -> Tensor:
        """The rows of a network's ``output`` (..., classes) that count, shape (rows, classes)."""
        if not self.classes:
            return output
        rows = output.flatten(0, -2)
        return rows if self.counted is None else rows.index_select(0, self.counted)

    def features(self, inner: Tensor) -> Tensor:
        """The rows of inner features that count, one per sample, or per position where targets are sequences.

        Args:
            inner: shape (n, ...); where targets are (n, t), as of text, (n, t, size) are t rows each.
        """
        sequences = self.targets.dim() == 2 and inner.dim() == 3
        if not (self.classes and sequences and inner.shape[:2] == self.targets.shape):
            return inner
        rows = inner.flatten(0, 1)
        return rows if self.counted is None else rows.index_select(0, self.counted)
