"""Labelled sentences: which files are read, what is refused, what students make of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from spaces.architectures import FAMILIES
from studies.known import find_study
from studies.names import SENTENCE_ARCHITECTURES, StudyError
from trainables import methods
from trainables.models import TextBag, TextCNN, TextGRU, TextLSTM, TextTransformer
from trainables.models.base import Model
from trainables.optimizers import AdamW
from trainables.origins import Fresh
from trainables.runtime import load
from trainables.shipping.evaluation import evaluate_file, open_student
from trainables.tasks import SentenceFolder
from trainables.tasks.base import DataError
from trainables.tasks.loaded_classes import UNKNOWN_LABEL
from trainables.tasks.sentence_files import read_sentences
from trainables.tasks.sentence_folder import SET_OFF
from trainables.tasks.vocabulary import Vocabulary
from trainables.teachers.sources import LocalSources, NoSources
from trainables.training.export_costs import exported
from trainables.training.trainer import Trainer
from trainables.translation.sentences import UNKNOWN

CPU = torch.device("cpu")
SMALL: list[Model] = [
    TextBag(width=0.2),
    TextCNN(depth=2, width=0.1, dropout=0.0),
    TextLSTM(width=0.15, dropout=0.0),
    TextGRU(width=0.15, dropout=0.0),
    TextTransformer(depth=1, width=0.12, heads=2, dropout=0.0),
]
each = pytest.mark.parametrize("model", SMALL, ids=lambda model: type(model).__name__)
GOOD = ("a fine film", "what fun it was", "the best of all plays", "bright and warm", "so very well made")
BAD = ("a dull film", "what a waste it was", "the worst of all plays", "grey and cold", "so very badly made")


def lines(count: int = 6) -> list[str]:
    found = []
    for number in range(count):
        found += [f"good\t{text} , part {number}" for text in GOOD]
        found += [f"bad\t{text} , part {number}" for text in BAD]
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "train.tsv").write_text("\n".join(lines()) + "\n")
    (tmp_path / "test.tsv").write_text("good\ta fine film indeed\nbad\ta dull film indeed\n")
    return tmp_path


def examined(folder: Path, **settings: Any) -> SentenceFolder:
    return SentenceFolder.examine(folder, **{"vocabulary_size": 40, "subwords": "unigram", **settings})[0]


def test_files_splits_and_vocabulary(folder: Path) -> None:
    task, notes = SentenceFolder.examine(folder, vocabulary_size=40, subwords="unigram")
    assert (task.classes, task.outputs, notes.used) == (("bad", "good"), 2, 62)
    assert task.input_shape == (40, task.length) and task.length % 8 == 0
    arrays = task.load(folder)
    assert len(arrays["validation_labels"]) == 6 and len(arrays["train_labels"]) == 54
    assert arrays["test_labels"].tolist() == [1, 0]
    vocabulary = Vocabulary(arrays["vocabulary"])
    assert vocabulary.decode(arrays["test_tokens"][0].tolist()) == "a fine film indeed"
    loaded = task.open(arrays, CPU, 0)
    assert set(loaded.assets()) == {"vocabulary"} and set(task.companions(loaded.assets())) == {
        "vocabulary.model"
    }
    with pytest.raises(DataError, match="are not those of the recipe"):
        replace(task, digest="0" * 16).load(folder)


def test_equal_sentences_stay_on_one_side(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("\n".join(line.replace("\t", ',"', 1) + '"' for line in lines(2) * 5))
    arrays = examined(tmp_path).load(tmp_path)
    rows = {
        split: {row.tobytes() for row in arrays[f"{split}_tokens"]}
        for split in ("train", "validation", "test")
    }
    assert not rows["train"] & rows["validation"] and not rows["train"] & rows["test"]
    assert all(rows.values()) and len(arrays["train_tokens"]) == 5 * len(rows["train"])


@pytest.mark.parametrize("layout", ["csv", "headed csv", "named", "folders", "split folders"])
def test_layouts(tmp_path: Path, layout: str) -> None:
    rows = [line.split("\t") for line in lines()]
    if layout.endswith("csv"):
        head = ["id,sentence,label"] if layout == "headed csv" else []
        body = [
            f'{n},"{text}",{label}' if head else f'{label},"{text}"' for n, (label, text) in enumerate(rows)
        ]
        (tmp_path / "train.csv").write_text("\n".join(head + body))
    elif layout == "named":
        for name in ("films.train.tsv", "films.dev.tsv", "plays.train.tsv"):
            (tmp_path / name).write_text("\n".join(lines(2 if name == "plays.train.tsv" else 6)))
    else:
        for number, (label, text) in enumerate(rows):
            where = tmp_path / ("train" if layout == "split folders" else "") / label
            where.mkdir(parents=True, exist_ok=True)
            (where / f"{number}.txt").write_text(text)
    found = read_sentences(tmp_path, "films" if layout == "named" else "")
    assert found.classes == ("bad", "good") and len(found.splits["train"]) == 60
    assert {line.text for line in found.splits["train"]} == {text for _, text in rows}
    assert ("validation" in found.splits) == (layout == "named")


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ("no label here", r"train\.tsv, line 61 has no tab between label and sentence"),
        ("good\t  ", r"train\.tsv, line 61 has an empty sentence"),
        ("\tof what kind", r"train\.tsv, line 61 has no label"),
    ],
)
def test_lines_of_no_use_are_told_or_skipped(folder: Path, bad: str, told: str) -> None:
    with (folder / "train.tsv").open("a") as file:
        file.write(bad + "\n")
    with pytest.raises(DataError, match=f"{told}; mend or remove it, or pass --skip-unreadable"):
        examined(folder)
    task, notes = SentenceFolder.examine(folder, vocabulary_size=36, skips=True)
    assert notes.used == 62 and notes.left_out[0].text == "lines that are of no use (1: train.tsv, line 61)"
    assert len(task.load(folder)["train_labels"]) == 54


def test_what_cannot_be_used_is_told(folder: Path) -> None:
    with (folder / "test.tsv").open("a") as file:
        file.write("fair\tnot bad\n")
    with pytest.raises(DataError, match=r"test\.tsv, line 3 has the label fair, which .* it has bad, good"):
        examined(folder)
    assert len(examined(folder, skips=True).load(folder)["test_labels"]) == 2
    (folder / "test.tsv").write_bytes(b"good\ta fine film\nbad\tgr\xe4\xdflich\n")
    with pytest.raises(DataError, match=r"test\.tsv, line 2 is not UTF-8 \(byte 0xe4\)"):
        examined(folder)
    (folder / "test.tsv").unlink()
    (folder / "train.tsv").write_text("good\tall is well\n")
    with pytest.raises(DataError, match="has 1 classes"):
        examined(folder)
    (folder / "train.tsv").unlink()
    with pytest.raises(DataError, match="has no sentences that are laid out so"):
        examined(folder)
    with pytest.raises(StudyError, match="needs --data DIR"):
        find_study("sentences").make_task(None, {})


def test_a_vocabulary_that_the_text_does_not_support(folder: Path) -> None:
    with pytest.raises(DataError, match=r"at most \d+ tokens, got vocabulary_size=4000; give another size"):
        examined(folder, vocabulary_size=4000)
    assert 40 < SentenceFolder.examine(folder, subwords="bpe")[0].vocabulary_size < 200


def test_the_vocabulary_is_of_all_words_of_the_training_split_unless_told_otherwise(folder: Path) -> None:
    task, _ = SentenceFolder.examine(folder)
    arrays = task.load(folder)
    words = {word for line in lines() for word in line.split("\t")[1].split()}
    assert task.subwords == "word" and task.vocabulary_size == 4 + len(words)
    tokens = arrays["test_tokens"][0]
    assert (tokens != 0).sum() == 4 and (tokens == UNKNOWN).sum() == 1  # nobody said "indeed" in training
    fewer, _ = SentenceFolder.examine(folder, vocabulary_size=32)
    assert (fewer.load(folder)["train_tokens"] == UNKNOWN).any()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('He said "no!" (twice): why?', 'He said " no !" ( twice ): why ?'),
        ("It is I, of the U.S.A. or D.C.", "It is I , of the U.S.A. or D.C."),
        ("ok... don't, 3.5 %.", "ok ... don't , 3.5 %."),
        ("already split , as it should be .", "already split , as it should be ."),
    ],
)
def test_punctuation_is_no_part_of_words(text: str, words: str) -> None:
    assert SET_OFF.sub(" ", text) == words


def test_some_labels_and_sentences_without_any(folder: Path) -> None:
    (folder / "unlabelled.txt").write_text("a warm play\n\nthe worst fun of all\n")
    task = examined(folder, labels=0.25)
    arrays = task.load(folder)
    labels = arrays["train_labels"]
    assert len(labels) == 56 and (labels != UNKNOWN_LABEL).sum() == round(0.25 * 54)
    assert (labels[-2:] == UNKNOWN_LABEL).all() and (arrays["validation_labels"] >= 0).all()
    loaded = task.open(arrays, CPU, 0)
    assert loaded.labels("train") is None and loaded.labels("test") is not None
    batch = next(loaded.in_order("train"))
    logits = torch.randn(56, 2, requires_grad=True)
    known = batch.targets != UNKNOWN_LABEL
    expected = torch.nn.functional.cross_entropy(logits[known], batch.targets[known])
    assert torch.isclose(loaded.loss(logits, batch), expected)
    none = batch._replace(targets=torch.full_like(batch.targets, UNKNOWN_LABEL))
    loaded.loss(logits, none).backward()
    assert logits.grad is not None and not logits.grad.any()
    model = TextBag(width=0.1).build(task.input_shape, 2)
    with torch.no_grad():
        right = (model(batch.inputs[known]).argmax(1) == batch.targets[known]).float().mean()
    model.eval()
    assert loaded.evaluate(model, "train")["accuracy"] == pytest.approx(float(right), abs=0.5)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("sentences")
    (folder / "train.tsv").write_text("\n".join(lines()))
    task = examined(folder)
    return task, task.load(folder)


@each
def test_padding_changes_no_answer(model: Model, data: Any) -> None:
    task, arrays = data
    network = model.build(task.input_shape, 2).eval()
    tokens = torch.from_numpy(arrays["train_tokens"][:5]).long()
    longer = torch.nn.functional.pad(tokens, (0, 8))
    if isinstance(model, TextTransformer):  # positions are of one length
        longer = tokens
    with torch.no_grad():
        assert torch.allclose(network(tokens), network(longer), atol=1e-5)
        assert bool(network(torch.zeros_like(tokens)).isfinite().all())


@each
def test_students_learn_and_ship_what_was_measured(model: Model, data: Any) -> None:
    task, arrays = data
    loaded = task.open(arrays, CPU, 0)
    given = methods.Setting(task, Fresh(model), epochs=40)
    trainer = Trainer(methods.full_precision(given, optimizer=AdamW(2e-2)), loaded, NoSources(), CPU)
    while not trainer.finished:
        trainer.train_epoch()
    accuracy = loaded.evaluate(trainer.student, "train")
    assert accuracy["accuracy"] > (0.7 if isinstance(model, TextBag) else 0.85)
    assert evaluate_file(trainer.ship(), loaded, "train") == accuracy


@each
def test_students_leave_as_onnx_in_whole_numbers(model: Model, data: Any) -> None:
    task, arrays = data
    loaded = task.open(arrays, CPU, 0)
    recipe = methods.quantization_aware_training(methods.Setting(task, Fresh(model), epochs=2))
    trainer = Trainer(recipe, loaded, NoSources(), CPU)
    while not trainer.finished:
        trainer.train_epoch()
    file = trainer.ship()
    _, network = open_student(file)
    session = load(exported(recipe, file, network))["network"]
    tokens = next(loaded.in_order("validation")).inputs
    with torch.no_grad():
        expected = network(tokens).argmax(1)
    found = session({"input": tokens.numpy()})["output"].argmax(1)
    assert float((torch.from_numpy(found) == expected).float().mean()) > 0.8


def test_a_teacher_labels_what_has_no_label(folder: Path) -> None:
    (folder / "unlabelled.txt").write_text("\n".join(line.split("\t")[1] for line in lines(9)[60:]))
    task = examined(folder, labels=0.05)
    loaded = task.open(task.load(folder), CPU, 0)
    model = TextCNN(depth=1, width=0.2, dropout=0.0)
    torch.manual_seed(0)
    whole = examined(folder)
    teacher = Trainer(
        methods.full_precision(methods.Setting(whole, Fresh(model), epochs=30), optimizer=AdamW(2e-2)),
        whole.open(whole.load(folder), CPU, 0), NoSources(), CPU,
    )  # fmt: skip
    while not teacher.finished:
        teacher.train_epoch()
    _, network = open_student(teacher.ship())
    accuracies = []
    for method in (methods.full_precision, methods.knowledge_distillation):
        given = methods.Setting(task, Fresh(model), 30, teacher="0" * 16, teacher_views=None)
        recipe = method(given, optimizer=AdamW(2e-2))
        student = Trainer(recipe, loaded, LocalSources(lambda _: network), CPU)
        while not student.finished:
            student.train_epoch()
        everything = whole.open(whole.load(folder), CPU, 0)
        accuracies.append(everything.evaluate(student.student, "train")["accuracy"])
    assert accuracies[1] > accuracies[0] + 0.1


def test_stopping_and_resuming_changes_no_bit(data: Any, tmp_path: Path) -> None:
    task, arrays = data

    def trainer() -> Trainer:
        given = methods.Setting(task, Fresh(TextCNN(depth=1, width=0.1)), epochs=4)
        return Trainer(methods.full_precision(given), task.open(arrays, CPU, 3), NoSources(), CPU)

    straight, stopped, again = trainer(), trainer(), trainer()
    for _ in range(4):
        straight.train_epoch()
    for _ in range(2):
        stopped.train_epoch()
    stopped.save(tmp_path / "state")
    again.load(tmp_path / "state")
    again.train_epoch()
    again.train_epoch()
    assert again.ship() == straight.ship()


def test_architectures_of_sentences_are_known_by_name(data: Any) -> None:
    study = find_study("sentences", about_data={"architectures": "text_cnn,text_bag"})
    parameters: Any = study.space.parameters(study.context(data[0], "0" * 16, 0))
    assert parameters["start"].choices == ("text_cnn", "text_bag")
    assert set(SENTENCE_ARCHITECTURES) <= set(FAMILIES)
