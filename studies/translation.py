"""Spaces and data of students that translate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from spaces import Space
from studies.names import StudyError
from studies.study import PRUNED
from trainables.tasks import (
    TextPairs,
)
from trainables.tasks.base import Task
from trainables.tasks.notes import DataNotes
from trainables.tasks.text import TextTask


def text_task(task: type[TextTask]) -> Callable[..., tuple[Task, DataNotes]]:
    def make(directory: Path | None, **settings: Any) -> tuple[Task, DataNotes]:
        return task(**_renamed(settings)), DataNotes()

    return make


def text_folder(directory: Path | None, **settings: Any) -> tuple[Task, DataNotes]:
    if directory is None:
        raise StudyError(
            "The study text_pairs needs --data DIR, a directory with two files per split, such as train.de "
            "and train.en, of a sentence per line."
        )
    if ("source" in settings) != ("target" in settings):
        raise StudyError(
            "Give --source and --target together, the two languages as the files' names have them."
        )
    return TextPairs.examine(directory, **_renamed(settings))


def _renamed(settings: dict[str, Any]) -> dict[str, Any]:
    """The command line's names as the tasks have them."""
    return {{"vocabulary": "vocabulary_size"}.get(name, name): value for name, value in settings.items()}


COARSE = {"method": "learned_step_quantization", "start": "teacher", "symmetric_bits": 3}


TRANSLATION = Space(
    ranges={"learning_rate": (1e-3, 2e-2)},
    fixed={"temperature": 1.0},  # at which the teacher's most probable tokens are remembered
    starts={"bits": 4, "learning_rate": 3e-3},
    also=(PRUNED, COARSE),
)
"""All methods; learned steps start a second time with 3 bits, from the teacher."""
