"""The inputs that ranges and statistics are taken from."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from trainables.calling import Inputs

CALIBRATION_INPUTS = 512
"""How many are looked at, rounded up to whole batches."""

InputBatches = Callable[[], Iterable[Inputs]]
"""Gives the inputs to calibrate on, the same ones at every call."""
