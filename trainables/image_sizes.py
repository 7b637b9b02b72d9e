"""How large images are dealt with: where maps are halved, and how many images a step takes."""

from __future__ import annotations

import math

LARGEST_MAP = 64
"""Pixels a side that the first stage of a network for images sees at most."""
ACTIVATION_BYTES = 300_000_000
"""That a step of training keeps of the layers of the largest network for one's own images, about."""
MOST_IMAGES = 128
FEWEST_IMAGES = 8

_BYTES_PER_PIXEL, _BYTES_OF_STEM = 3000, 340
"""Kept per pixel of the first stage's maps, and of the first convolution's where these are halved further.

Both of ``ResNet(depth=3, width=2)``, the teacher of ``image_folder``, as counted.
"""
_UNCHANGED = 32
"""Pixels a side up to which all steps take 128 images."""


def halvings(height: int, width: int) -> int:
    """How often maps are halved before the first stage, so that it sees at most 64 pixels a side."""
    return max(0, math.ceil(math.log2(max(height, width) / LARGEST_MAP)))


def fitting_batch_size(height: int, width: int) -> int:
    """Images of a training step whose activations take about 300 MB: a power of two in [8, 128].

    Args:
        height: of the images, in pixels.
        width: likewise.
    """
    if height * width <= _UNCHANGED**2:
        return MOST_IMAGES
    count = halvings(height, width)
    pixels = height * width / 4**count
    stem = height * width / 4 if count > 1 else 0
    fitting = ACTIVATION_BYTES / (_BYTES_PER_PIXEL * pixels + _BYTES_OF_STEM * stem)
    return min(MOST_IMAGES, max(FEWEST_IMAGES, 2 ** math.floor(math.log2(fitting))))
