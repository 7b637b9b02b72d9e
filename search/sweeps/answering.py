"""What teacher and students of a sweep say of each sample, so that they are compared on the same ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from search.objectives.certainty import SAMPLES, SPLITS, Paired, counts_of
from search.objectives.resampled import intervals, is_drawn
from search.store.answers import TRUE
from search.sweeps.exhibits import Exhibits
from search.tracking.record import Record
from trainables.files import write_file
from trainables.metrics import Quality
from trainables.predictions import (
    PREDICTIONS_FILE,
    Answers,
    predictions_json,
    read_predictions,
    read_tables,
    student_json,
)

PREFIXES = dict(zip(("validation", "test"), SPLITS, strict=True))
"""Split -> what stands before the names of its metrics."""


class TeacherAnswers:
    """The teacher's answers and the right ones, in a file of the sweep.

    Args:
        path: of the file.
        quality: of the sweep.
        exhibits: keeps what is shown of the samples.
    """

    def __init__(self, path: Path, quality: Quality, exhibits: Exhibits) -> None:
        self.path = path
        self._quality = quality
        self._exhibits = exhibits
        self._known: dict[str, Answers] = {}

    def add(self, split: str, found: Answers | None, qualities: Mapping[str, float]) -> dict[str, float]:
        """Keep what the teacher says on ``split``, if there is anything to keep.

        Args:
            split: ``validation`` or ``test``.
            found: what is kept of it.
            qualities: the teacher's on that split.

        Returns:
            Of how many samples the sweep's quality is the share that is right; of a quality that is none, the
            ends of its interval, if what decides it is kept.
        """
        if found is None or not found.columns:
            return {}
        self._known[split] = found
        write_file(self.path, self._content())
        if found.true is not None:
            self._exhibits.keep(split, np.arange(len(found.true)), found.true)
        if is_drawn(self._quality):
            drawn = intervals(self._quality, found)
            return {PREFIXES[split] + name: value for name, value in drawn.items()}
        share, right = qualities.get(self._quality.name, math.nan), found.right
        counted = right is not None and self._quality.up and self._quality.highest == 1.0
        if right is None or not counted or not abs(right - share) < 1e-9:
            return {}
        return {PREFIXES[split] + SAMPLES: float(len(found.columns[0]))}

    def _content(self) -> bytes:
        said = {split: each.said for split, each in self._known.items() if each.said is not None}
        true = {split + TRUE: each.true for split, each in self._known.items() if each.true is not None}
        tables = {split: each.table for split, each in self._known.items() if each.table is not None}
        return predictions_json(said | true, tables)

    @property
    def files(self) -> dict[str, Path]:
        """The file by the name of its artifact; none if nothing is kept."""
        return {PREDICTIONS_FILE: self.path} if self._known else {}

    def show_mistakes(self, split: str, said: Sequence[Answers]) -> None:
        """Of a split too large to be kept whole, keep the samples that one of several students gets wrong.

        Args:
            split: ``validation`` or ``test``.
            said: of each student.
        """
        known = self._known.get(split, Answers())
        true, teacher = known.true, known.said
        if true is None or teacher is None or self._exhibits.whole(split, len(true)):
            return
        wrong = np.zeros(len(true), dtype=bool)
        for each in said:
            if each.said is not None and each.said.shape == true.shape:
                wrong |= each.said != true
        if wrong.any():
            self._exhibits.keep(split, np.flatnonzero(wrong & (teacher == true)), true)

    def knows(self, split: str) -> bool:
        """Whether it has the teacher's answers on ``split``."""
        return split in self._known

    def compare(self, split: str, student: Answers) -> dict[str, float]:
        """On how many samples one of teacher and student alone is right, by metric; nothing if not known.

        Of a quality that is no share of them the ends of the student's interval and of what it loses.
        """
        teacher, prefix = self._known.get(split, Answers()), PREFIXES[split]
        drawn = intervals(self._quality, student._replace(true=teacher.true), teacher)
        found = {prefix + name: value for name, value in drawn.items()}
        said, true = student.said, teacher.true
        if said is None or true is None or said.shape != true.shape:
            return found
        return counts_of(Paired.of(teacher.said == true, said == true), prefix) | found

    def compare_file(self, student: Path) -> dict[str, float]:
        """The same of a finished student on the validation split, from the file beside its packed one."""
        return self.compare("validation", kept) if (kept := _kept(student)) is not None else {}


def keep_answers(
    said: Mapping[str, Answers | None], records: Mapping[str, Record], teacher: TeacherAnswers
) -> None:
    """Keep what the front says on the test split beside what it says on validation.

    Args:
        said: by trial id.
        records: every trial; those of the front get what they lose to the teacher.
        teacher: with its own answers on the test split; if it has none, nothing is kept.
    """
    if not teacher.knows("test"):
        return
    for key, found in said.items():
        path = records[key].packed_file
        if found is None or path is None:
            continue
        records[key].metrics |= teacher.compare("test", found)
        validation = _kept(path)
        known = {"test": found} if validation is None else {"validation": validation, "test": found}
        write_file(path.with_name(PREDICTIONS_FILE), student_json(known))
    teacher.show_mistakes("test", [each for each in said.values() if each is not None])
    finished = (_kept(each.packed_file) for each in records.values() if each.packed_file is not None)
    teacher.show_mistakes("validation", [each for each in finished if each is not None])


def kept_file(record: Record) -> dict[str, Path]:
    """The file of a finished trial's answers by the name of its artifact, if there is one."""
    path = None if record.packed_file is None else record.packed_file.with_name(PREDICTIONS_FILE)
    return {PREDICTIONS_FILE: path} if path is not None and path.exists() else {}


def _kept(student: Path) -> Answers | None:
    """What lies beside a student's file of what it says on validation; None if nothing whole does."""
    try:
        content = student.with_name(PREDICTIONS_FILE).read_bytes()
        said, table = (read(content).get("validation") for read in (read_predictions, read_tables))
    except (FileNotFoundError, ValueError):  # a student without them is as good; only numbers are missing
        return None
    return None if said is None and table is None else Answers(said, None, table)
