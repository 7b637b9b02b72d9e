"""Which samples a batch is contrasted with."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Contrasted(NamedTuple):
    """What each sample of a batch is compared with.

    Attributes:
        rows: numbers of samples, int64, shape (candidates,).
        places: where in ``rows`` the sample itself stands (column 0), then its negatives; int64, shape
            (n, 1 + negatives).
    """

    rows: Tensor
    places: Tensor


class Negatives:
    """Draws negatives with the global generator of the samples' device.

    One order of all samples is drawn at a step; the negatives of a sample are the first in it that may be.
    So each has a uniform draw without replacement, while those of one batch have most in common. (The
    published code draws for each sample anew, which takes longer than the student's own step.)

    Args:
        count: of negatives that are wanted.
        rows: how many samples there are.
        labels: their classes, shape (rows,), of which a sample's own is left out; None: it alone is.

    Attributes:
        count: of negatives that each sample gets: as many as are wanted, or as the rarest sort of sample has.

    Raises:
        ValueError: a sample has none.
    """

    def __init__(self, count: int, rows: int, labels: Tensor | None) -> None:
        self._rows, self._labels = rows, labels
        self._alike = 1 if labels is None else int(labels.unique(return_counts=True)[1].max())
        self.count = min(count, rows - self._alike)
        if self.count < 1:
            raise ValueError(
                f"each sample needs another to be contrasted with, and {self._alike} of {rows} are alike"
            )

    def draw(self, numbers: Tensor) -> Contrasted:
        """Negatives of a batch of samples with these ``numbers``, int64, shape (n,)."""
        enough = self.count + self._alike
        order = torch.randperm(self._rows, device=numbers.device)[:enough]
        places = (
            self._others(order, numbers) if self._labels is None else self._of_other_classes(order, numbers)
        )
        needed = int(places.max()) + 1
        own = needed + torch.arange(len(numbers), device=numbers.device)
        return Contrasted(torch.cat([order[:needed], numbers]), torch.cat([own[:, None], places], 1))

    def _others(self, order: Tensor, numbers: Tensor) -> Tensor:
        """The first places but the sample's own, beyond which all move on by one."""
        same = order == numbers[:, None]
        own = torch.where(same.any(1), same.int().argmax(1), len(order))
        first = torch.arange(self.count, device=numbers.device)
        return first + (first >= own[:, None])

    def _of_other_classes(self, order: Tensor, numbers: Tensor) -> Tensor:
        assert self._labels is not None
        classes, which = self._labels[numbers].unique(return_inverse=True)
        drawn = self._labels[order]
        found = [(drawn != each).nonzero()[: self.count, 0] for each in classes]
        return torch.stack(found)[which]
