"""Weights as whole numbers with scales."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.quantizers.base import Codes, Stored

Array = NDArray[Any]


REDUCED = 64
"""Largest magnitude of a weight in the reduced range: ``2 * 255 * 64`` still fits into 16 bits with a sign.

x86 processors without VNNI add two products of an unsigned and a signed byte in 16 bits, and saturate."""


LARGEST_LEVEL = 127


LARGEST_BIAS = 2**30


def has_wide_products() -> bool:
    """Whether this processor adds products of bytes in 32 bits: x86 with VNNI, or another architecture.

    False also where x86 does not say, so that a file made there is right everywhere.
    """
    if platform.machine().lower() not in ("x86_64", "amd64", "i386", "i686"):
        return True
    try:
        return "vnni" in Path("/proc/cpuinfo").read_text()
    except OSError:  # not Linux
        return False


@dataclass(frozen=True)
class IntegerWeight:
    """``scale[o] * level[o]`` for output channel ``o``, the first dimension.

    Attributes:
        level: int64, in [-128, 127].
        scale: float64, shape (channels,), positive.
    """

    level: NDArray[np.int64]
    scale: NDArray[np.float64]


def integer_weight(stored: Stored) -> IntegerWeight | None:
    """``stored`` as 8-bit integers with one scale per output channel; None if that is not what it is."""
    if not isinstance(stored, Codes) or stored.zero is None or len(stored.shape) < 2:
        return None
    channels = stored.shape[0]
    count = math.prod(stored.shape)
    per_tensor = stored.scale.numel() == 1
    per_channel = stored.scale.numel() == channels and stored.bucket_size == count // channels
    if not count or not (per_tensor or (per_channel and stored.keep is None)):
        return None
    level = stored.index.numpy().astype(np.int64) - stored.zero
    if stored.keep is not None:
        kept = level
        level = np.zeros(count, np.int64)
        level[stored.keep.numpy().reshape(-1)] = kept
    if level.min(initial=0) < -LARGEST_LEVEL - 1 or level.max(initial=0) > LARGEST_LEVEL:
        return None
    scale = np.broadcast_to(stored.scale.double().numpy(), (channels,))
    return _tidy(level.reshape(stored.shape), scale)


def _tidy(level: NDArray[np.int64], scale: NDArray[np.float64]) -> IntegerWeight:
    """Positive scales: a negative one changes the signs of its levels, a channel of scale zero is zero.

    A level -128 whose sign changes becomes 127, for 128 does not exist: one step off on that weight.
    """
    level = np.minimum(level * columns_of(np.sign(scale).astype(np.int64), level), LARGEST_LEVEL)
    return IntegerWeight(level, np.where(scale == 0, 1.0, np.abs(scale)))


def scaled_by(weight: IntegerWeight, factor: NDArray[np.float64]) -> IntegerWeight:
    return _tidy(weight.level, weight.scale * factor)


def coarser(weight: IntegerWeight, steps: NDArray[np.float64]) -> IntegerWeight:
    """The nearest levels where each channel's scale is ``steps`` times as large."""
    level = np.rint(weight.level / columns_of(steps, weight.level)).astype(np.int64)
    return IntegerWeight(level, weight.scale * steps)


def spread_over(weight: IntegerWeight, limit: int) -> IntegerWeight:
    """Levels that make use of ``[-limit, limit]``: multiplied by whole numbers where they are few: exact.

    Larger ones are divided and rounded, but for a lone -128. Few levels have to be spread because their
    scale is also the unit that the bias is rounded to.
    """
    largest = np.abs(weight.level).reshape(len(weight.level), -1).max(axis=1).clip(min=1)
    fits = largest <= (limit + 1 if limit == LARGEST_LEVEL else limit)  # -128 is a level, 128 is none
    return coarser(weight, np.where(fits, 1 / np.maximum(limit // largest, 1), largest / limit))


ValueKey = tuple[tuple[int, ...], bytes]


def known_weights(tensors: Mapping[str, Stored]) -> dict[ValueKey, IntegerWeight]:
    """Those of ``tensors`` that 8-bit integers hold, by their float32 values."""
    weights = ((stored, integer_weight(stored)) for stored in tensors.values())
    return {value_key(stored.decode().numpy()): weight for stored, weight in weights if weight is not None}


def value_key(values: Array) -> ValueKey:
    """Equal for equal float32 values; minus zero is zero."""
    return values.shape, np.ascontiguousarray(values + np.float32(0)).tobytes()


def columns_of(numbers: Array, values: Array) -> Array:
    """One number per channel, to be multiplied with ``values``, whose first dimension is the channels."""
    return numbers.reshape(-1, *(1,) * (values.ndim - 1))
