"""What is kept of a sweep's samples: all of small data, of large data those that students get wrong."""

from pathlib import Path

import numpy as np
import pytest

from search.store.mlflow_client import StoreError
from search.store.samples import samples_of
from search.sweeps import exhibits
from search.sweeps.answering import TeacherAnswers
from search.sweeps.exhibits import Exhibits
from trainables.metrics import quality_of
from trainables.predictions import Answers
from trainables.samples import mark_of
from trainables.tasks import Digits, Multi30k

TRUE = np.arange(300) % 10
ARRAYS = {f"{split}_images": np.zeros((300, 1, 8, 8), dtype=np.uint8) for split in ("validation", "test")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sweeps" / "digits-1").mkdir(parents=True)
    return tmp_path


def answers(folder: Path) -> TeacherAnswers:
    place = folder / "sweeps" / "digits-1"
    kept = Exhibits(place / "samples.json", Digits(), ARRAYS)
    return TeacherAnswers(place / "predictions.json", quality_of("accuracy"), kept)


def test_small_data_are_kept_whole(folder: Path) -> None:
    teacher = answers(folder)
    teacher.add("validation", Answers(TRUE, TRUE), {"accuracy": 1.0})
    found = samples_of(folder, "digits-1")
    assert found is not None and sorted(found.splits["validation"]) == list(range(300))
    assert found.marks == {"validation": mark_of(TRUE)}
    teacher.add("test", Answers(TRUE, TRUE), {"accuracy": 1.0})
    before = samples_of(folder, "digits-1")
    teacher.show_mistakes("test", [Answers((TRUE + 1) % 10)])
    assert samples_of(folder, "digits-1") == before, "all are there already"


def test_of_large_data_those_are_kept_that_the_teacher_gets_right_and_a_student_wrong(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exhibits, "MOST_BYTES", 4_000)
    teacher = answers(folder)
    said = TRUE.copy()
    said[:10] = (TRUE[:10] + 1) % 10
    teacher.add("validation", Answers(said, TRUE), {"accuracy": 1.0})
    found = samples_of(folder, "digits-1")
    assert found is not None and 0 < len(found.splits["validation"]) < 300
    assert sum(map(len, found.splits["validation"].values())) <= 4_000
    student, other = TRUE.copy(), TRUE.copy()
    student[5:20] = (TRUE[5:20] + 1) % 10
    other[290] = (TRUE[290] + 1) % 10
    teacher.show_mistakes("validation", [Answers(student), Answers(other), Answers(TRUE[:5]), Answers()])
    found = samples_of(folder, "digits-1")
    assert found is not None and sorted(found.splits["validation"]) == [*range(10, 20), 290]


def test_of_translations_nothing_is_kept(folder: Path) -> None:
    kept = Exhibits(folder / "sweeps" / "digits-1" / "samples.json", Multi30k(), {})
    kept.keep("validation", TRUE, TRUE)
    assert samples_of(folder, "digits-1") is None


def test_a_link_and_a_large_file_are_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder / "sweeps" / "digits-1" / "samples.json"
    path.symlink_to("/etc/hostname")
    with pytest.raises(StoreError, match="it is a link"):
        samples_of(folder, "digits-1")
    with pytest.raises(StoreError, match="must stay inside"):
        samples_of(folder, "..")
    path.unlink()
    path.write_bytes(b"{}" * 100)
    monkeypatch.setattr("search.store.samples.LARGEST", 100)
    with pytest.raises(StoreError, match="more than 100 bytes"):
        samples_of(folder, "digits-1")
