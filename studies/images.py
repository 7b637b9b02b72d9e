"""Spaces and data of students that classify images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from spaces import Space
from studies.names import StudyError
from studies.study import PRUNED
from trainables.tasks import (
    ImageFolder,
)
from trainables.tasks.base import Task
from trainables.tasks.notes import DataNotes


def image_folder(directory: Path | None, image_size: int | None = None) -> tuple[Task, DataNotes]:
    if directory is None:
        raise StudyError(
            "The study image_folder needs --data DIR, a directory with one folder of images per class."
        )
    return ImageFolder.examine(directory, None if image_size is None else (image_size, image_size))


IMAGES = Space(starts={"bits": 4, "learning_rate": 5e-3}, also=(PRUNED,))
"""All methods; quantized distillation starts a second time with half of the weights pruned."""


def sized(space: Space, depths: tuple[int, int], widths: tuple[float, float]) -> Space:
    """The space of students of these depths and widths."""
    return replace(space, ranges={**space.ranges, "depth": depths, "width": widths})


DIGITS_FAMILY: dict[str, Any] = {"stages": ((64, 64), (128, 128)), "hidden": (128,), "kernel_size": 3}
"""1.3 MB in full precision at depth 2 and width 1; dropout helps the teacher and hurts small students."""
