"""Log-mel features of recordings, computed by torch a batch at a time."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

FLOOR = 1e-6
"""Added to an energy before its logarithm, so that silence has one."""


class LogMel(NamedTuple):
    """How recordings become features; everything that a device has to know of it.

    Attributes:
        sample_rate: samples per second.
        window: samples of a frame.
        hop: samples from one frame to the next.
        mels: bands.
        low_hz: where the lowest band begins.
        high_hz: where the highest one ends.
        mean: subtracted from the logarithms.
        std: what they are divided by then.
    """

    sample_rate: int
    window: int
    hop: int
    mels: int
    low_hz: float
    high_hz: float
    mean: float = 0.0
    std: float = 1.0

    @property
    def fft(self) -> int:
        """Points of the Fourier transform: the next power of two."""
        return 1 << (self.window - 1).bit_length()

    def frames(self, samples: int) -> int:
        """How many frames so many samples have."""
        return 1 + (samples - self.window) // self.hop

    def described(self) -> dict[str, Any]:
        """For who computes them elsewhere; docs/data.md has the code."""
        inputs = "(log(mel energies of |rfft(hann window * frame)|^2 + floor) - mean) / std"
        return {"inputs": inputs, **self._asdict(), "fft": self.fft, "floor": FLOOR}


def log_mel(sounds: Tensor, how: LogMel) -> Tensor:
    """Features, float32, shape (n, 1, mels, frames).

    Args:
        sounds: float32 in [-1, 1], shape (n, samples).
        how: they are computed.
    """
    window, bands = _tables(how)
    framed = sounds.unfold(1, how.window, how.hop) * window.to(sounds.device)
    parts = torch.fft.rfft(framed, n=how.fft)
    power = parts.real.square().addcmul_(parts.imag, parts.imag)  # abs() would take roots to square them
    energies = power @ bands.to(sounds.device)
    features = (energies + FLOOR).log_().sub_(how.mean).div_(how.std)
    return features.transpose(1, 2).unsqueeze(1).contiguous()


def mel_bands(how: LogMel) -> np.ndarray:
    """Triangles of equal width on the mel scale, 2595 log10(1 + f / 700), shape (fft / 2 + 1, mels)."""
    low_mel, high_mel = (2595 * math.log10(1 + hz / 700) for hz in (how.low_hz, how.high_hz))
    points = 700 * (10 ** (np.linspace(low_mel, high_mel, how.mels + 2) / 2595) - 1)
    bins = np.arange(how.fft // 2 + 1) * how.sample_rate / how.fft
    low, centre, high = points[:-2], points[1:-1], points[2:]
    rising = (bins[:, None] - low) / (centre - low)
    falling = (high - bins[:, None]) / (high - centre)
    return np.maximum(0, np.minimum(rising, falling)).astype(np.float32)


@functools.lru_cache(maxsize=8)
def _tables(how: LogMel) -> tuple[Tensor, Tensor]:
    return torch.hann_window(how.window, periodic=True), torch.from_numpy(mel_bands(how))
