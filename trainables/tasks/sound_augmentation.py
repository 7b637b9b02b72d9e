"""Shifts, noise and masks of recordings as batched tensor operations without a random state.

As of images, what happens to a sample is a hash of (seed, view, index): see
:mod:`trainables.tasks.augmentation`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from trainables.tasks.augmentation import mix, mix_tensor

NOISY = 0.8
"""Share of the recordings that noise is added to (Warden 2018)."""
_SHIFT, _PLACE, _VOLUME, _CHANCE, _TIME, _BAND = range(6)


class Spoiling(NamedTuple):
    """What training does to recordings.

    Attributes:
        shift: samples by which one is moved at most, either way.
        noise: loudest noise, as a share of the full scale.
        frames: that are masked at most, in one stretch.
        bands: likewise.
    """

    shift: int
    noise: float
    frames: int
    bands: int


def spoiled(sounds: Tensor, noise: Tensor, how: Spoiling, key: tuple[int, int], index: Tensor) -> Tensor:
    """Recordings that are moved, what moves in being silence, and lie under a piece of noise.

    Args:
        sounds: float32, shape (n, samples).
        noise: float32, shape (m,) with m at least the samples of a recording.
        how: it is done.
        key: (seed, view).
        index: int64, shape (n,), on the device of ``sounds``: the samples' numbers within their split.
    """
    samples = sounds.shape[1]
    if how.shift:
        # Views of whole stretches, of which one each is copied: a number per sample takes ten times as long.
        start = 2 * how.shift - _whole(key, index, _SHIFT, 2 * how.shift + 1)
        stretches = F.pad(sounds, (how.shift, how.shift)).unfold(1, samples, 1)
        sounds = stretches[torch.arange(len(sounds), device=sounds.device), start]
    if how.noise:
        start = _whole(key, index, _PLACE, noise.numel() - samples + 1)
        volume = how.noise * _share(key, index, _VOLUME) * (_share(key, index, _CHANCE) < NOISY)
        sounds = torch.addcmul(sounds, volume[:, None], noise.unfold(0, samples, 1)[start])
    return sounds.clamp(-1, 1)


def masked(features: Tensor, how: Spoiling, key: tuple[int, int], index: Tensor) -> Tensor:
    """Features with a stretch of frames and one of bands at 0, their mean (SpecAugment, Park et al. 2019).

    Args:
        features: shape (n, 1, bands, frames).
        how: it is done.
        key: (seed, view).
        index: as for :func:`spoiled`.
    """
    for most, axis, field in ((how.frames, 3, _TIME), (how.bands, 2, _BAND)):
        if most:
            size = features.shape[axis]
            width = _whole(key, index, 10 + field, most + 1)
            start = (_share(key, index, 20 + field) * (size - width + 1)).long()
            places = torch.arange(size, device=features.device)
            hidden = (places >= start[:, None]) & (places < (start + width)[:, None])
            shape = (len(features), 1, 1, size) if axis == 3 else (len(features), 1, size, 1)
            features = features.masked_fill(hidden.view(shape), 0.0)
    return features


def _share(key: tuple[int, int], index: Tensor, field: int) -> Tensor:
    """Numbers in [0, 1), of 24 bits of a hash of their own."""
    bits = mix_tensor(mix(*key, field), index) & ((1 << 24) - 1)
    return bits.float() / (1 << 24)


def _whole(key: tuple[int, int], index: Tensor, field: int, count: int) -> Tensor:
    """Whole numbers in [0, count)."""
    bits = mix_tensor(mix(*key, field), index) & ((1 << 24) - 1)
    return (bits * count) >> 24
