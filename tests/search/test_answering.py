"""What teacher, finished trials and the front keep of each sample, and how sure their qualities are by it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from search.objectives.on_split import most_lost, on_split
from search.store.answers import kept_of
from search.sweeps.answering import TeacherAnswers, keep_answers, kept_file
from search.sweeps.exhibits import Exhibits
from search.tracking.record import Record
from tests.recipes import setting
from tests.trainables.metrics.test_evidence import kept, logits
from tests.trainables.translation import STUDENTS, write_pairs
from trainables import methods
from trainables.metrics import quality_of
from trainables.metrics.translation import bleu_of_counts
from trainables.predictions import Answers, read_predictions, read_tables
from trainables.shipping.evaluation import measure_file, open_student
from trainables.tasks import Digits
from trainables.tasks.loaded_text import LoadedText
from trainables.teachers.sources import NoSources
from trainables.trainable import SAID, StudentTrial
from trainables.training.trainer import Trainer
from trainables.training.trial_folder import STUDENT_FILE, Files, TrialFolder

CPU = torch.device("cpu")
BLEU = quality_of("bleu")


class Translations:
    """In place of decoding: the references, of which some words are left out.

    Attributes:
        lost: their share.
        decoded: the splits that were decoded.
    """

    def __init__(self) -> None:
        self.lost = 0.0
        self.decoded: list[str] = []

    def of(self, task: LoadedText, network: nn.Module, split: str) -> list[str]:
        self.decoded.append(split)
        random = np.random.default_rng(int(1000 * self.lost))
        return [
            " ".join(word for word in line.split() if random.random() >= self.lost)
            for line in task.references(split)
        ]


@pytest.fixture
def translations(monkeypatch: pytest.MonkeyPatch) -> Translations:
    found = Translations()
    monkeypatch.setattr(LoadedText, "translations", lambda *arguments: found.of(*arguments))
    return found


def teacher_of(folder: Path, name: str) -> TeacherAnswers:
    images = {"validation_images": np.zeros((100, 1, 8, 8), dtype=np.uint8)}
    exhibits = Exhibits(folder / "samples.json", Digits(), images)
    return TeacherAnswers(folder / "predictions.json", quality_of(name), exhibits)


def test_a_finished_trial_that_translates_keeps_what_its_bleu_is_made_of(
    tmp_path: Path, translations: Translations
) -> None:
    pairs = write_pairs(tmp_path)
    task = pairs.open(pairs.load(tmp_path), CPU, 0)
    recipe = methods.post_training_quantization(setting(pairs, STUDENTS[0], epochs=1))
    file = Trainer(recipe, task, NoSources(), CPU).ship()
    teacher = teacher_of(tmp_path, "bleu")
    own: dict[str, float] = {}
    for split, prefix in (("validation", "validation_"), ("test", "")):
        qualities, answers = measure_file(file, task, split)
        own |= {f"{prefix}bleu": qualities["bleu"], **teacher.add(split, answers, qualities)}
    ends = {"quality_low", "quality_high"}
    assert own.keys() == {"bleu", "validation_bleu", *ends, *(f"validation_{end}" for end in ends)}

    translations.lost, translations.decoded = 0.15, []
    trial: Any = SimpleNamespace(_settings=SimpleNamespace(device="cpu"))
    running = StudentTrial._tried(trial, recipe, task, 0, file, open_student(file)[1])
    assert SAID not in running
    result = StudentTrial._tried(trial, recipe, task, 1, file, open_student(file)[1], last=True)
    assert translations.decoded == ["validation"] * 2, "once for each report, with what is kept"
    said, place = result.pop(SAID), TrialFolder(tmp_path / "00000")
    assert result.keys() == running.keys()
    place.path.mkdir()
    place.finish(Files(file, []), said=[said])

    record = Record("00000", recipe, packed_file=place.path / STUDENT_FILE, metrics=result)
    record.metrics |= teacher.compare_file(place.path / STUDENT_FILE)
    [kept_json] = kept_file(record).values()
    table = read_tables(kept_json.read_bytes())["validation"]
    assert bleu_of_counts(table.sum(0)[None]) == [record.metrics["validation_bleu"]]
    assert read_predictions(kept_json.read_bytes()) == {}, "sentences have no class"
    found = on_split(record.metrics, own, BLEU, "validation_")
    assert found is not None and found.between is not None and found.lost_between is not None
    assert found.between.low < found.value < found.between.high < 100
    assert (
        0
        < found.lost_between.low
        < found.lost
        < found.lost_between.high
        == most_lost(record.metrics, own, BLEU)
    )

    on_test = measure_file(file, task, "test")
    record.metrics |= on_test.qualities
    keep_answers({"00000": on_test.answers}, {"00000": record}, teacher)
    assert read_tables(kept_json.read_bytes()).keys() == {"validation", "test"}
    found = on_split(record.metrics, own, BLEU, "")
    assert found is not None and found.lost_between is not None and found.lost_between.low > 0
    store: Any = SimpleNamespace(download=lambda run, name: kept_json.read_bytes())
    again = kept_of(store, "0")
    assert np.array_equal(again["validation"].table, table) and again["test"].said is None  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"tables": {}}', None])
def test_a_student_whose_file_is_damaged_is_as_good(tmp_path: Path, content: bytes | None) -> None:
    teacher = teacher_of(tmp_path, "area_under_curve")
    outputs, true = logits(100, 3, 0)
    teacher.add("validation", kept("area_under_curve", outputs, true), {})
    place = tmp_path / "00000"
    place.mkdir()
    if content is not None:
        (place / "predictions.json").write_bytes(content)
    assert teacher.compare_file(place / STUDENT_FILE) == {}


def test_the_teacher_keeps_classes_and_what_decides_more(tmp_path: Path) -> None:
    outputs, true = logits(100, 3, 0)
    other = outputs + np.random.default_rng(0).normal(size=outputs.shape).astype(np.float32)
    teacher = teacher_of(tmp_path, "area_under_curve")
    found = teacher.add("validation", kept("area_under_curve", outputs, true), {"area_under_curve": 0.8})
    assert found.keys() == {"validation_quality_low", "validation_quality_high"}
    content = teacher.path.read_bytes()
    assert read_predictions(content).keys() == {"validation", "validation_true"}
    assert read_tables(content)["validation"].shape == (100, 3)
    student = teacher.compare("validation", kept("area_under_curve", other, true))
    counts = {"validation_lost_answers", "validation_gained_answers"}
    assert student.keys() == {*found, "validation_lost_low", "validation_lost_high", *counts}
    # Of a student that only says classes, they are counted, and nothing is drawn.
    assert teacher.compare("validation", Answers(other.argmax(1))).keys() == counts
    assert teacher.compare("test", Answers(other.argmax(1))) == {}


def test_a_quality_that_is_drawn_is_no_share_where_it_happens_to_equal_one(tmp_path: Path) -> None:
    true = np.arange(50) % 5
    found = teacher_of(tmp_path, "macro_f1").add("validation", Answers(true, true), {"macro_f1": 1.0})
    assert found == {"validation_quality_low": 1.0, "validation_quality_high": 1.0}
    counted = teacher_of(tmp_path, "accuracy").add("validation", Answers(true, true), {"accuracy": 1.0})
    assert counted == {"validation_samples": 50.0}
