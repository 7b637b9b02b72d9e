"""What teacher and students of a sweep say of each sample, so that they are compared on the same ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import ray
import torch

from search.objectives.certainty import SAMPLES, SPLITS, Paired, counts_of
from search.objectives.resampled import intervals
from search.store.answers import TRUE
from search.sweeps.exhibits import Exhibits
from search.tracking.record import Record
from trainables.files import write_file
from trainables.metrics import Quality
from trainables.models.allowed import allow_all
from trainables.predictions import PREDICTIONS_FILE, Classes, predictions_json, read_predictions
from trainables.shipping.evaluation import open_student
from trainables.shipping.predicting import Answers, answers
from trainables.tasks.base import Arrays, Task
from trainables.training.trial_metrics import TrialSettings

PREFIXES = dict(zip(("validation", "test"), SPLITS, strict=True))
"""Split -> what stands before the names of its metrics."""


@ray.remote
def answers_of_file(
    file: bytes, arrays: Arrays, task: Task, split: str, settings: TrialSettings
) -> Answers | None:
    """What a packed file says of each sample of ``split``: CPU, float32, one thread."""
    torch.set_num_threads(1)
    allow_all(settings.own)
    return answers(open_student(file)[1], task.open(arrays, torch.device("cpu"), 0), split)


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
        self._columns: dict[str, Classes] = {}

    def add(self, split: str, found: Answers | None, qualities: Mapping[str, float]) -> dict[str, float]:
        """Keep the teacher's answers on ``split``, if samples have one class each.

        Args:
            split: ``validation`` or ``test``.
            found: its answers.
            qualities: the teacher's on that split.

        Returns:
            Of how many samples the sweep's quality is the share that is right; of a quality that is none, the
            ends of its interval, as far as classes decide it.
        """
        if found is None:
            return {}
        self._columns |= {split: found.said, split + TRUE: found.true}
        write_file(self.path, predictions_json(self._columns))
        self._exhibits.keep(split, np.arange(len(found.true)), found.true)
        share = qualities.get(self._quality.name, math.nan)
        counted = self._quality.up and self._quality.highest == 1.0 and abs(found.right - share) < 1e-9
        if counted:
            return {PREFIXES[split] + SAMPLES: float(len(found.true))}
        drawn = intervals(self._quality, found.true, found.said)
        return {PREFIXES[split] + name: value for name, value in drawn.items()}

    @property
    def files(self) -> dict[str, Path]:
        """The file by the name of its artifact; none if samples have no one class."""
        return {PREDICTIONS_FILE: self.path} if self._columns else {}

    def show_mistakes(self, split: str, said: Sequence[Classes]) -> None:
        """Of a split too large to be kept whole, keep the samples that one of several students gets wrong.

        Args:
            split: ``validation`` or ``test``.
            said: of each student.
        """
        true, teacher = self._columns.get(split + TRUE), self._columns.get(split)
        if true is None or teacher is None or self._exhibits.whole(split, len(true)):
            return
        wrong = np.zeros(len(true), dtype=bool)
        for each in said:
            if each.shape == true.shape:
                wrong |= each != true
        if wrong.any():
            self._exhibits.keep(split, np.flatnonzero(wrong & (teacher == true)), true)

    def knows(self, split: str) -> bool:
        """Whether it has the teacher's answers on ``split``."""
        return split in self._columns

    def compare(self, split: str, said: Classes) -> dict[str, float]:
        """On how many samples one of teacher and student alone is right, by metric; nothing if not known.

        Of a quality that is no share of them the ends of the student's interval and of what it loses.
        """
        true = self._columns.get(split + TRUE)
        if true is None or true.shape != said.shape:
            return {}
        prefix, teacher = PREFIXES[split], self._columns[split]
        drawn = intervals(self._quality, true, said, teacher)
        found = counts_of(Paired.of(teacher == true, said == true), prefix)
        return found | {prefix + name: value for name, value in drawn.items()}

    def compare_file(self, student: Path) -> dict[str, float]:
        """The same of a finished student on the validation split, from the file beside its packed one."""
        return self.compare("validation", said) if (said := _kept(student)) is not None else {}


def measure_answers(
    front: Sequence[str],
    records: Mapping[str, Record],
    data: Any,
    task: Task,
    settings: TrialSettings,
    teacher: TeacherAnswers,
) -> None:
    """Ask the front for its answers on the test split, and keep them beside those on validation.

    Args:
        front: trial ids.
        records: every trial; those of the front get their counts.
        data: the arrays, or a reference to them.
        task: of the sweep.
        settings: of its trials.
        teacher: with its own answers on the test split; if it has none, nobody is asked.
    """
    if not teacher.knows("test"):
        return
    files = {key: path for key in front if (path := records[key].packed_file) is not None}
    asked = [
        answers_of_file.remote(path.read_bytes(), data, task, "test", settings) for path in files.values()
    ]
    said = ray.get(asked)
    for (key, path), found in zip(files.items(), said, strict=True):
        if found is None:
            continue
        records[key].metrics |= teacher.compare("test", found.said)
        validation = _kept(path)
        columns = {} if validation is None else {"validation": validation}
        content = predictions_json({**columns, "test": found.said})
        write_file(path.with_name(PREDICTIONS_FILE), content)
    teacher.show_mistakes("test", [found.said for found in said if found is not None])
    known = (_kept(each.packed_file) for each in records.values() if each.packed_file is not None)
    teacher.show_mistakes("validation", [each for each in known if each is not None])


def kept_file(record: Record) -> dict[str, Path]:
    """The file of a finished trial's answers by the name of its artifact, if there is one."""
    path = None if record.packed_file is None else record.packed_file.with_name(PREDICTIONS_FILE)
    return {PREDICTIONS_FILE: path} if path is not None and path.exists() else {}


def _kept(student: Path) -> Classes | None:
    """What lies beside a student's file of its answers on validation; None if nothing whole does."""
    try:
        return read_predictions(student.with_name(PREDICTIONS_FILE).read_bytes()).get("validation")
    except (FileNotFoundError, ValueError):  # a student without them is as good; only numbers are missing
        return None
