"""Spaces and data of students that classify images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from spaces import Space
from studies.names import StudyError
from studies.study import PRUNED
from trainables.tasks import (
    ImageFolder,
)
from trainables.tasks.images import Scaling
from trainables.tasks.notes import DataNotes

FOLDER_OPTIONS = ("image_size", "mean", "std", "batch_size", "flip", "crop", "teacher_epochs", "quality")
"""Of the command line, about a folder of images."""


def image_folder(directory: Path | None, **given: Any) -> tuple[ImageFolder, DataNotes]:
    """The task of a folder of images, and what was found there.

    Args:
        directory: of the images.
        given: those of :data:`FOLDER_OPTIONS` that were given; ``teacher_epochs`` is the study's.

    Raises:
        StudyError: no directory.
        DataError: nothing usable there.
        ValueError: a number out of its range.
    """
    if directory is None:
        raise StudyError(
            "The study image_folder needs --data DIR, a directory with one folder of images per class."
        )
    size = given.get("image_size")
    renamed = {"batch_size": "batch_size", "flip": "flip", "crop": "padding", "quality": "quality"}
    return ImageFolder.examine(
        directory,
        None if size is None else (size, size),
        scaling=_scaling(given),
        **{field: given[name] for name, field in renamed.items() if name in given},
    )


def _scaling(given: Mapping[str, Any]) -> Scaling | None:
    """Mean and standard deviation; None also for those that are used where nothing is given."""
    if ("mean" in given) != ("std" in given):
        raise ValueError("--mean and --std go together: give both, or neither")
    if "mean" not in given:
        return None
    mean, std = (_numbers(name, given[name]) for name in ("mean", "std"))
    if len(mean) != len(std):
        raise ValueError(f"--mean and --std must have as many numbers, got {len(mean)} and {len(std)}")
    return None if {*mean, *std} == {0.5} else Scaling(mean, std)


def _numbers(name: str, values: Any) -> tuple[float, ...]:
    found: Sequence[Any] = values if isinstance(values, Sequence) else (values,)
    if not found or any(isinstance(each, bool) or not isinstance(each, int | float) for each in found):
        raise ValueError(f"--{name} must be a number per channel, got {values!r}")
    return tuple(map(float, found))


IMAGES = Space(starts={"bits": 4, "learning_rate": 5e-3}, also=(PRUNED,))
"""All methods; quantized distillation starts a second time with half of the weights pruned."""


def sized(space: Space, depths: tuple[int, int], widths: tuple[float, float]) -> Space:
    """The space of students of these depths and widths."""
    return replace(space, ranges={**space.ranges, "depth": depths, "width": widths})


DIGITS_FAMILY: dict[str, Any] = {"stages": ((64, 64), (128, 128)), "hidden": (128,), "kernel_size": 3}
"""1.3 MB in full precision at depth 2 and width 1; dropout helps the teacher and hurts small students."""
