"""The inputs that ranges and statistics are taken from."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor

CALIBRATION_INPUTS = 512
"""How many are looked at, rounded up to whole batches."""

InputBatches = Callable[[], Iterable[Tensor]]
"""Gives the inputs to calibrate on, the same ones at every call."""
