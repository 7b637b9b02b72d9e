"""The embedded default: scikit-learn's handwritten digits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainables.tasks.base import SPLITS, Arrays, DataError
from trainables.tasks.images import ImageTask
from trainables.tasks.splits import proportional, stratified

HELD_OUT = 360
"""Images in the validation split, and in the test split."""


@dataclass(frozen=True)
class Digits(ImageTask):
    """The 1,797 grey 8x8 digits that scikit-learn ships (Alpaydin & Kaynak 1998, the UCI test part).

    1,077 images to train on, 360 for validation, 360 for test, each with the classes in proportion.
    The published grey values 0..16 are scaled to 0..255.

    Attributes:
        batch_size: default 64.
        padding: default 1 pixel.
        flip: default False; a mirrored 3 is no 3.
    """

    batch_size: int = 64
    padding: int = 1
    flip: bool = False

    @property
    def input_shape(self) -> tuple[int, ...]:
        """One grey channel, 8x8."""
        return (1, 8, 8)

    @property
    def outputs(self) -> int:
        """Ten digits."""
        return 10

    def load(self, directory: Path | None, *, download: bool = False) -> Arrays:
        """The splits; they come with the package, so there is no directory to give.

        Raises:
            DataError: a directory was given.
        """
        if directory is not None:
            raise DataError(f"the digits come with the package; leave out --data (got {directory})")
        # scikit-learn takes a second to import and only this task needs it.
        from sklearn.datasets import load_digits

        grey, labels = load_digits(return_X_y=True)
        images = np.rint(grey * (255 / 16)).astype(np.uint8).reshape(-1, *self.input_shape)
        labels = labels.astype(np.int64)
        counts = proportional(np.bincount(labels), HELD_OUT)
        arrays = {}
        for split, chosen in zip(SPLITS, stratified(labels, [counts, counts]), strict=True):
            arrays[f"{split}_images"] = images[chosen]
            arrays[f"{split}_labels"] = labels[chosen]
        return arrays
