"""Floats of which there are few, as bytes: what ``ToTensor()`` and ``Normalize`` make of 8-bit images."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

MOST = 256
"""Values of a channel that one byte tells apart."""
MOST_CHANNELS = 16
_HASH_BITS = 16
_MULTIPLIERS = np.random.RandomState(20_180_215).randint(1, 2**31, 200).astype(np.uint32) * 2 + 1
"""Odd ones, tried one after the other until no two values of a channel have one hash."""


class TooMany(Exception):
    """A channel has more values than a byte tells apart."""


class _Hashed(NamedTuple):
    """How values of a channel are looked up: hash -> code -> value, of which ``known`` are."""

    multiplier: np.uint32
    codes: np.ndarray
    table: np.ndarray
    known: int


class Encoder:
    """float32 of shape (n, channels, height, width) <-> uint8 of that shape and a table, exactly.

    Values are told apart by their bits, so that -0.0 and NaNs come back as they were. Numbers are given out
    in the order in which values are met: what was encoded before stays right.

    Args:
        channels: in [1, 16].
    """

    def __init__(self, channels: int) -> None:
        self._values: list[np.ndarray] = [np.empty(0, np.uint32) for _ in range(channels)]
        self._hashes: list[_Hashed] = [_hash_of(values) for values in self._values]

    @property
    def table(self) -> np.ndarray:
        """float32, shape (channels, 256): what each byte means; zeros where one means nothing yet."""
        table = np.zeros((len(self._values), MOST), np.uint32)
        for row, values in zip(table, self._values, strict=True):
            row[: len(values)] = values
        return table.view(np.float32)

    def encode(self, images: np.ndarray) -> np.ndarray:
        """The codes of ``images``; each was looked up in the table and found equal.

        Raises:
            TooMany: a channel has more than 256 values, these and those of before.
        """
        bits = np.ascontiguousarray(images).view(np.uint32)
        codes = np.empty(bits.shape, np.uint8)
        for channel in range(len(self._values)):
            codes[:, channel] = self._channel(channel, bits[:, channel])
        return codes

    def _channel(self, channel: int, bits: np.ndarray) -> np.ndarray:
        codes, wrong = _look_up(self._hashes[channel], bits)
        if not wrong.any():
            return codes
        known = self._values[channel]
        values = np.concatenate([known, np.setdiff1d(bits[wrong], known)])
        if len(values) > MOST:
            raise TooMany
        self._values[channel], self._hashes[channel] = values, _hash_of(values)
        codes, wrong = _look_up(self._hashes[channel], bits)
        if wrong.any():
            raise AssertionError("a value that was just added is not found")
        return codes


def decode(codes: Tensor, table: Tensor) -> Tensor:
    """float32 of the shape of ``codes`` (uint8; n, channels, height, width), by ``table`` (channels, 256)."""
    channels = [
        table[channel].index_select(0, codes[:, channel].flatten().int()).view(codes[:, channel].shape)
        for channel in range(codes.shape[1])
    ]
    return torch.stack(channels, 1)


def can_be_encoded(dtype: str, shape: tuple[int, ...]) -> bool:
    """Whether items are float32 images: (channels, height, width)."""
    return dtype == "float32" and len(shape) == 3 and 1 <= shape[0] <= MOST_CHANNELS


def _hash_of(values: np.ndarray) -> _Hashed:
    """A way to look up ``values``, no two of which have one hash.

    Raises:
        TooMany: no multiplier tells them apart, which takes values made for that.
    """
    table = np.zeros(MOST, np.uint32)
    table[: len(values)] = values
    for multiplier in _MULTIPLIERS:
        hashes = (values * multiplier) >> np.uint32(32 - _HASH_BITS)
        if len(np.unique(hashes)) == len(values):
            codes = np.zeros(2**_HASH_BITS, np.uint8)
            codes[hashes] = np.arange(len(values), dtype=np.uint8)
            return _Hashed(multiplier, codes, table, len(values))
    raise TooMany


def _look_up(hashed: _Hashed, bits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The codes, and where they are wrong because the value is not in the table."""
    multiplier, codes, table, known = hashed
    found = codes[(bits * multiplier) >> np.uint32(32 - _HASH_BITS)]
    return found, (table[found] != bits) | (found >= known)  # the latter where there are no values yet
