"""The benchmark of sentences and recordings goes through and goes on."""

import pytest

from benchmarks import small_tasks
from tests.trainables.tasks.test_sentences import lines
from trainables.models import TextBag, TextCNN

CELLS = [
    small_tasks.Cell("cnn", TextCNN(depth=1, width=0.1), 1, 1e-3),
    small_tasks.Cell("bag-qd4", TextBag(width=0.1), 1, 1e-3, "quantized_distillation", teacher="cnn"),
]


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setitem(small_tasks.KINDS, "sentences", lambda: iter(CELLS))


def test_rows_are_kept_and_a_table_is_printed(few, tmp_path, capsys):
    (tmp_path / "train.tsv").write_text("\n".join(lines()))
    words = ["sentences", "--data", str(tmp_path), "--seeds", "2", "--out", str(tmp_path / "out")]
    small_tasks.main(words)
    first = capsys.readouterr().out
    table = [line for line in first.splitlines() if line.startswith("| ")]
    assert [line.split(" | ")[0] for line in table] == ["| training", "| cnn", "| bag-qd4"]
    small_tasks.main(words)
    assert capsys.readouterr().out == first  # nothing was trained again: seconds are the same
    files = sorted(path.name for path in (tmp_path / "out").glob("*.rdz"))
    assert files == ["bag-qd4-0.rdz", "bag-qd4-1.rdz", "cnn-0.rdz", "cnn-1.rdz"]


def test_every_cell_s_teacher_comes_before_it():
    for cells in small_tasks.KINDS.values():
        names = []
        for cell in cells():
            assert not cell.teacher or cell.teacher in names
            names.append(cell.name)
