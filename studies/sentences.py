"""Your own sentences and their classes (--data DIR)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from spaces.architectures import families
from studies.images import IMAGES
from studies.names import SENTENCE_ARCHITECTURES, StudyError
from studies.study import Study
from trainables.models import TextCNN
from trainables.origins import Fresh
from trainables.tasks import SentenceFolder
from trainables.tasks.notes import DataNotes

OPTIONS = ("vocabulary", "labels", "set", "skip_unreadable", "quality", "batch_size")
FIELDS = {"vocabulary": "vocabulary_size", "skip_unreadable": "skips"}


def sentences(directory: Path | None, **given: Any) -> tuple[SentenceFolder, DataNotes]:
    """The task of a folder of labelled sentences, and what was found there.

    Args:
        directory: of the sentences.
        given: those of :data:`OPTIONS` that were given.

    Raises:
        StudyError: no directory.
        DataError: nothing usable there.
        ValueError: a number out of its range.
    """
    if directory is None:
        raise StudyError(
            "The study sentences needs --data DIR, a directory with train.tsv and test.tsv, a label and a "
            "sentence per line."
        )
    return SentenceFolder.examine(directory, **{FIELDS.get(name, name): given[name] for name in given})


STUDY = Study(
    name="sentences",
    task=sentences,
    options=OPTIONS,
    teacher=Fresh(TextCNN(width=1.0)),
    # Of many words nearly all bytes are vectors: students have short ones and many maps beside them.
    students=families(SENTENCE_ARCHITECTURES, TextCNN(width=0.5, embedding=24, maps=80, dropout=0.2)),
    teacher_epochs=12,
    epochs=12,
    trials=24,
    space=replace(IMAGES, starts={"bits": 4, "learning_rate": 5e-3}),
    teacher_threads=1,
    teacher_views=1,
    teacher_learning_rate=2e-3,
    architectures=SENTENCE_ARCHITECTURES,
)
