"""A user's own files, in both layouts, and everything that may be wrong with them."""

from __future__ import annotations

import dataclasses
import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from trainables.tasks import folders
from trainables.tasks.base import DataError
from trainables.tasks.multi30k import Multi30k
from trainables.tasks.notes import DataNotes, Tally
from trainables.tasks.text_files import read_pairs, split_lines
from trainables.tasks.text_pairs import TextPairs

SMALL: dict[str, Any] = {"vocabulary_size": 40, "batch_tokens": 256, "max_length": 64}
SPLITS = {"train": 30, "val": 5, "test": 4}


def line(number: int, language: str) -> str:
    return f"{language} satz {number} " + " ".join("abcdefgh"[(number * k) % 8] for k in range(1, 5))


def german_english(stem: str, language: str) -> str:
    return f"{stem}.{language}"


def opennmt(stem: str, language: str) -> str:
    return f"{ {'de': 'src', 'en': 'tgt'}[language] }-{stem}.txt"


def fill(root: Path, name: Callable[[str, str], str] = german_english, packed: bool = False) -> Path:
    for split, count in SPLITS.items():
        for language in ("de", "en"):
            write(root, name(split, language), [line(i, language) for i in range(count)], packed)
    return root


def write(root: Path, name: str, lines: list[str], packed: bool = False, end: str = "\n") -> None:
    data = "".join(text + end for text in lines).encode()
    if packed:
        (root / f"{name}.gz").write_bytes(gzip.compress(data))
    else:
        (root / name).write_bytes(data)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", [german_english, opennmt])
def test_both_layouts(tmp_path: Path, name: Callable[[str, str], str], packed: bool) -> None:
    task = TextPairs.scan(fill(tmp_path, name, packed), **SMALL)
    assert (task.source, task.target) == (("de", "en") if name is german_english else ("src", "tgt"))
    assert (task.validation, task.test) == ("val", "test")
    loaded = task.open(task.load(tmp_path), torch.device("cpu"), 0)
    assert [loaded.samples(split) for split in ("train", "validation", "test")] == [30, 5, 4]
    assert loaded.references("test") == [line(i, "en") for i in range(4)]
    batch = next(loaded.in_order("validation"))
    assert loaded.vocabulary.decode(batch.inputs.source[2].tolist()) == line(2, "de")
    assert loaded.vocabulary.decode(batch.targets[2].tolist()) == line(2, "en")


def test_compression_and_line_ends_do_not_matter_to_the_digest(tmp_path: Path) -> None:
    plain, packed, windows = (tmp_path / name for name in ("plain", "packed", "windows"))
    for folder in (plain, packed, windows):
        folder.mkdir()
    fill(packed, packed=True)
    digest = TextPairs.scan(fill(plain), **SMALL).digest
    for split, count in SPLITS.items():
        for language in ("de", "en"):
            lines = [line(i, language) for i in range(count)]
            write(windows, german_english(split, language), lines, end="\r\n")
    first = windows / "train.de"
    first.write_bytes(b"\xef\xbb\xbf" + first.read_bytes())
    assert TextPairs.scan(packed, **SMALL).digest == TextPairs.scan(windows, **SMALL).digest == digest


def test_names_are_chosen_and_said(tmp_path: Path) -> None:
    fill(tmp_path)
    for name in ("test_2017", "test_2016"):
        for language in ("de", "en"):
            write(tmp_path, f"{name}.{language}", [line(i, language) for i in range(3)])
    (tmp_path / "test.de").unlink()
    (tmp_path / "test.en").unlink()
    (tmp_path / "README.md").write_text("no language")
    assert TextPairs.scan(tmp_path, **SMALL).test == "test_2016"
    assert TextPairs.scan(tmp_path, test="test_2017", **SMALL).test == "test_2017"
    backwards = TextPairs.scan(tmp_path, source="en", target="de", **SMALL)
    assert (backwards.source, backwards.target) == ("en", "de")
    for old, new in (("val.de", "dev.de"), ("val.en", "dev.en")):
        (tmp_path / old).rename(tmp_path / new)
    assert TextPairs.scan(tmp_path, **SMALL).validation == "dev"
    write(tmp_path, "train.fr", ["x"])
    with pytest.raises(DataError, match=r"3 languages \(de, en, fr\); say which two"):
        TextPairs.scan(tmp_path, **SMALL)
    assert TextPairs.scan(tmp_path, source="de", target="en", **SMALL).digest


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_any_end_of_lines_ends_a_line(tmp_path: Path, end: str, last: bool) -> None:
    lines = ["one two", "a\u2028b", "c\x0bd", "e\x0cf", "g\x85h", "i\u2029j"]
    (tmp_path / "x.de").write_bytes((end.join(lines) + end * last).encode())
    (tmp_path / "x.en").write_bytes((end.join(lines) + end).encode())
    pairs = read_pairs(tmp_path, "x", ("de", "en"), 64)
    assert pairs.source == pairs.target == lines


def test_ends_of_lines_may_be_mixed() -> None:
    assert split_lines("a\rb\r\nc\n\rd") == ["a", "b", "c", "", "d"]
    assert split_lines("") == [] and split_lines("\n") == [""]


def test_where_lines_end_by_cr_faults_are_named_by_line(tmp_path: Path) -> None:
    for name in ("x.de", "x.en"):
        (tmp_path / name).write_bytes(b"one\rtwo\rthr\xe9e\rfour")
    with pytest.raises(DataError, match=r"x\.de, line 3 is not UTF-8 \(byte 0xe9\)"):
        read_pairs(tmp_path, "x", ("de", "en"), 64)


def test_the_digest_does_not_depend_on_the_ends_of_lines(tmp_path: Path) -> None:
    task = TextPairs.scan(fill(tmp_path), **SMALL)
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r"))
    assert TextPairs.scan(tmp_path, **SMALL) == task


def test_pairs_of_the_test_that_were_trained_on_are_said(tmp_path: Path) -> None:
    fill(tmp_path)
    for language in ("de", "en"):
        trained = (tmp_path / f"train.{language}").read_text().splitlines()[4:6]
        write(tmp_path, f"test.{language}", ["something new", *trained])
    _, notes = TextPairs.examine(tmp_path, **SMALL)
    assert notes == DataNotes(
        used=38,
        doubtful=(
            Tally(
                "validation pairs that the training split has, too",
                5,
                tuple(f"val.de, line {i}" for i in (1, 2, 3)),
            ),
            Tally("test pairs that the training split has, too", 2, ("test.de, line 2", "test.de, line 3")),
        ),
    )


def test_a_folder_that_cannot_be_read_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(folders.os, "scandir", closed)
    with pytest.raises(DataError, match=r"cannot be read \(Permission denied\); make it readable"):
        TextPairs.scan(tmp_path, **SMALL)


def test_pipes_and_links_are_no_files(tmp_path: Path) -> None:
    fill(tmp_path)
    os.mkfifo(tmp_path / "test.fr")
    (tmp_path / "train.fr").symlink_to("train.fr")
    assert TextPairs.scan(tmp_path, **SMALL).target == "en"


def broken(case: str, root: Path) -> Path:
    fill(root)
    train = root / "train.en"
    lines = train.read_text().splitlines()
    if case == "nothing":
        return root / "absent"
    elif case == "empty folder":
        for file in root.iterdir():
            file.unlink()
    elif case == "one language":
        for file in root.glob("*.en"):
            file.unlink()
    elif case == "no validation":
        (root / "val.de").unlink()
        (root / "val.en").unlink()
    elif case == "half a test":
        (root / "test.en").unlink()
    elif case == "two validations":
        for language in ("de", "en"):
            write(root, f"valid.{language}", ["x"])
    elif case == "twice":
        write(root, "train.en", lines, packed=True)
    elif case == "lengths":
        write(root, "train.en", lines[:-1])
    elif case == "latin":
        train.write_bytes(train.read_bytes().replace(b"en satz 7 ", b"en s\xe4tze 7 "))
    elif case == "blank":
        write(root, "train.en", [*lines[:11], "  ", *lines[12:]])
    elif case == "long":
        write(root, "train.en", [*lines[:4], "wort " * 10_000, *lines[5:]])
    elif case == "no file":
        train.write_bytes(b"")
    elif case == "gzip":
        train.unlink()
        write(root, "train.en", lines, packed=True)
        file = root / "train.en.gz"
        file.write_bytes(file.read_bytes()[:-20])
    elif case == "not gzip":
        train.rename(root / "train.en.gz")
    return root


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("nothing", r"no directory .*absent; pass --data DIR"),
        ("empty folder", r"train in 0 languages \(none\); pass --data DIR"),
        ("one language", r"train in 1 languages \(de\); pass --data DIR"),
        ("no validation", r"no validation files in de and en; pass"),
        ("half a test", r"has test in one language only; add test.en"),
        ("two validations", r"both val and valid files; keep one"),
        ("twice", r"both train.en and train.en.gz; keep one"),
        ("lengths", r"train.de has 30 lines and train.en 29; line i"),
        ("latin", r"train.en, line 8 is not UTF-8 \(byte 0xe4\); convert"),
        ("blank", r"train.en, line 12 is blank; remove the pair"),
        ("long", r"train.en, line 5 has 10000 words and more than max_length=64 tokens; remove"),
        ("no file", r"train.en is empty; it needs"),
        ("gzip", r"train.en.gz cannot be read"),
        ("not gzip", r"train.en.gz cannot be read"),
    ],
)
def test_unusable_folders_say_what_to_do(tmp_path: Path, case: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        TextPairs.scan(broken(case, tmp_path), **SMALL)
    assert "\n" not in str(caught.value)


def test_the_recipe_names_its_sentences(tmp_path: Path) -> None:
    task = TextPairs.scan(fill(tmp_path), **SMALL)
    with pytest.raises(DataError, match="pass --data DIR"):
        task.load(None)
    with pytest.raises(DataError, match="no directory"):
        task.load(tmp_path / "absent")
    write(tmp_path, "test.en", [line(i + 1, "en") for i in range(4)])
    with pytest.raises(DataError, match=f"instead of {task.digest}"):
        task.load(tmp_path)
    with pytest.raises(DataError, match=r"at most \d+ tokens, got vocabulary_size=5000"):
        fill(tmp_path)
        dataclasses.replace(task, vocabulary_size=5000).load(tmp_path)


def test_fields_are_checked(tmp_path: Path) -> None:
    good = {"source": "de", "target": "en", "validation": "val", "test": "test", "digest": "0123456789abcdef"}
    TextPairs(**good)  # type: ignore[arg-type]
    for change in (
        {"source": "../x"},
        {"test": "/etc/passwd"},
        {"validation": ""},
        {"digest": "x"},
        {"target": "de"},
    ):
        with pytest.raises(ValueError, match=next(iter(change))):
            TextPairs(**(good | change))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="both source and target"):
        TextPairs.scan(fill(tmp_path), source="de")


def test_multi30k_wants_the_published_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.de has 30 lines, but Multi30k has 29000"):
        Multi30k(vocabulary_size=40).load(fill(tmp_path))
    with pytest.raises(DataError, match="not embedded"):
        Multi30k().load(None)
    with pytest.raises(ValueError, match="test"):
        Multi30k(test="test_2015")


def test_multi30k(shared_dir: Path) -> None:
    folder = shared_dir / "data" / "multi30k"
    if not folder.is_dir():
        pytest.skip(f"no Multi30k in {folder}")
    task = Multi30k()
    loaded = task.open(task.load(folder), torch.device("cpu"), 0)
    assert [loaded.samples(split) for split in ("train", "validation", "test")] == [29_000, 1014, 1000]
    assert loaded.vocabulary.size == task.outputs == 8000
    assert loaded.references("test")[0] == "A man in an orange hat starring at something."
    assert len(loaded.assets()["vocabulary"]) < 32_000
