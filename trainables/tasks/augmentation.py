"""Random shifts and flips as batched tensor operations without a random state.

What happens to a sample is a hash of (seed, view, index), so the same view of a sample can be asked for
again: in another batch, by another process, on another device.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_MASK = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15
_MULTIPLIERS = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_SHIFTS = (30, 27, 31)
_FIELD_BITS = 21  # three fields of one 64-bit hash: rows, columns, flip


def mix(*values: int) -> int:
    """One 64-bit number from several, by SplitMix64's finaliser (Steele, Lea & Flood 2014), chained.

    Any two argument lists of equal length that differ give unrelated results.
    """
    state = 0
    for value in values:
        state = _finalise((state + _STEP + value) & _MASK)
    return state


def mix_tensor(key: int, values: Tensor) -> Tensor:
    """``mix`` of ``key``'s state and each of ``values`` (int64): the same bits in two's complement.

    ``mix_tensor(mix(a, b), torch.tensor([c]))`` equals ``mix(a, b, c)`` read as a signed number.
    """
    state = values + _signed((key + _STEP) & _MASK)  # int64 tensors wrap around, which is what a hash wants
    for shift, multiplier in zip(_SHIFTS, _MULTIPLIERS, strict=False):
        state = (state ^ _shift_right(state, shift)) * _signed(multiplier)
    return state ^ _shift_right(state, _SHIFTS[-1])


def augment(images: Tensor, seed: int, view: int, index: Tensor, *, padding: int, flip: bool) -> Tensor:
    """Shift each image by up to ``padding`` pixels and flip half of them from left to right.

    Sample ``i`` is moved by two independent offsets, uniform on the integers in [-padding, padding];
    what moves in from outside is 0. A pure function of (seed, view, index[i]) per sample.

    Args:
        images: uint8, shape (n, channels, height, width); not written to.
        seed: of the run, at least 0.
        view: which of the many augmented views, at least 0; the epoch, in training.
        index: int64, shape (n,), on the device of ``images``: the samples' numbers within their split.
        padding: largest shift in pixels, at least 0.
        flip: whether to flip at all.

    Returns:
        uint8, shape of ``images``.
    """
    if padding == 0 and not flip:
        return images
    bits = mix_tensor(mix(seed, view), index)
    if padding:
        images = _shift(
            images, _uniform(bits, 0, 2 * padding + 1), _uniform(bits, 1, 2 * padding + 1), padding
        )
    if flip:
        flipped = _uniform(bits, 2, 2).bool()
        images = torch.where(flipped[:, None, None, None], images.flip(3), images)
    return images


def _shift(images: Tensor, rows: Tensor, columns: Tensor, padding: int) -> Tensor:
    """Windows of the zero-padded images whose corners are at (rows, columns), in [0, 2 * padding]."""
    height, width = images.shape[2:]
    padded = F.pad(images, (padding,) * 4)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # a view: (n, c, 2p+1, 2p+1, height, width)
    return windows[torch.arange(len(images), device=images.device), :, rows, columns]


def _uniform(bits: Tensor, field: int, count: int) -> Tensor:
    """Integers in [0, count) from one 21-bit field of a hash; even to within count / 2^21."""
    part = _shift_right(bits, field * _FIELD_BITS) & ((1 << _FIELD_BITS) - 1)
    return (part * count) >> _FIELD_BITS


def _finalise(state: int) -> int:
    for shift, multiplier in zip(_SHIFTS, _MULTIPLIERS, strict=False):
        state = ((state ^ (state >> shift)) * multiplier) & _MASK
    return state ^ (state >> _SHIFTS[-1])


def _shift_right(values: Tensor, bits: int) -> Tensor:
    """Logical shift; torch's ``>>`` on int64 copies the sign bit in."""
    return (values >> bits) & ((1 << (64 - bits)) - 1) if bits else values


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value
