"""Spoken words: your own recordings, one folder per word (--data DIR), or embedded synthetic voices."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from spaces.architectures import families
from studies.images import IMAGES
from studies.names import SOUND_ARCHITECTURES
from studies.study import Study
from trainables.models import TimeCNN
from trainables.origins import Fresh
from trainables.tasks import SoundFolder, SpokenWords
from trainables.tasks.base import Task
from trainables.tasks.notes import DataNotes

OPTIONS = ("split", "seconds", "skip_unreadable", "quality", "batch_size")
FIELDS = {"skip_unreadable": "skips"}


def keywords(directory: Path | None, **given: Any) -> tuple[Task, DataNotes]:
    """The task of a folder of recordings, and what was found there; without one, the embedded words.

    Args:
        directory: of the recordings.
        given: those of :data:`OPTIONS` that were given.

    Raises:
        DataError: nothing usable there.
        ValueError: a number out of its range.
    """
    if directory is None:
        for name in given.keys() & {"split", "seconds", "skip_unreadable"}:
            raise ValueError(f"--{name.replace('_', '-')} is for recordings of your own: give --data DIR")
        return SpokenWords(**given), DataNotes()
    return SoundFolder.examine(directory, **{FIELDS.get(name, name): given[name] for name in given})


STUDY = Study(
    name="keywords",
    task=keywords,
    options=OPTIONS,
    teacher=Fresh(TimeCNN(depth=4, width=1.5)),
    students=families(SOUND_ARCHITECTURES, TimeCNN(depth=3, width=0.5)),
    teacher_epochs=30,
    epochs=60,
    trials=16,
    space=replace(IMAGES, starts={"bits": 4, "learning_rate": 1e-2}),
    teacher_threads=1,
    teacher_views=12,
    teacher_learning_rate=5e-3,
    architectures=SOUND_ARCHITECTURES,
)
