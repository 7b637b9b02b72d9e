"""Training as ever."""

from __future__ import annotations

from trainables.methods.setting import Setting, published
from trainables.optimizers import AdamW
from trainables.recipe import Recipe


@published("", "labels")
def full_precision(given: Setting, *, optimizer: AdamW = AdamW()) -> Recipe:
    """Training from labels alone, stored as float32: the baseline, and how teachers are made."""
    return given.recipe(given.phase(optimizer))
