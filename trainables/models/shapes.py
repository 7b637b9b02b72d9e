"""What the image architectures ask of an input's shape."""

from __future__ import annotations

SMALLEST = 4


def image_shape(input_shape: tuple[int, ...]) -> tuple[int, int, int]:
    """``input_shape`` as (channels, height, width).

    Raises:
        ValueError: it is no image of at least one channel and 4x4 pixels.
    """
    if len(input_shape) != 3 or input_shape[0] < 1 or min(input_shape[1:]) < SMALLEST:
        raise ValueError(
            f"input_shape must be (channels, height, width), sides of at least {SMALLEST}, got {input_shape=}"
        )
    channels, height, width = input_shape
    return channels, height, width
