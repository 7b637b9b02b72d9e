"""Labelled sentences in files: which there are, what is in them, what is wrong with them."""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from trainables.foreign import shown
from trainables.tasks.base import SPLITS, DataError
from trainables.tasks.class_folders import LONGEST_CLASS, split_of
from trainables.tasks.folders import cannot_be_read, check_directory, files_in, folders_in, say
from trainables.tasks.notes import Tallies
from trainables.tasks.text_files import split_lines
from trainables.tasks.vocabulary import normalised

HINT = (
    "pass --data DIR with train.tsv (or .csv), test.tsv and validation.tsv, a label and a sentence per line, "
    "or with one folder of .txt files per class"
)
TABLE = re.compile(r"(?:(?P<set>[A-Za-z0-9][A-Za-z0-9_-]*)\.)?(?P<split>[A-Za-z_-]+)\.(?P<kind>tsv|csv)")
UNLABELLED = ("unlabelled.txt", "unlabelled.tsv", "unlabeled.txt", "unlabeled.tsv")
NO_USE = "lines that are of no use"


class Line(NamedTuple):
    """A sentence with its label, and where it stands."""

    label: str
    text: str
    place: str


@dataclass
class Sentences:
    """What was read of a folder.

    Attributes:
        splits: those that are given; without ``validation`` or ``test`` they are to be drawn.
        unlabelled: further sentences.
        left_out: what was skipped.
    """

    splits: dict[str, list[Line]]
    unlabelled: list[str] = field(default_factory=list)
    left_out: Tallies = field(default_factory=Tallies)

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels of the training split, sorted."""
        return tuple(sorted({line.label for line in self.splits["train"]}))

    @property
    def digest(self) -> str:
        """16 hex digits of a hash of all labels and sentences."""
        whole = hashlib.sha256()
        for split in SPLITS:
            lines = self.splits.get(split, [])
            whole.update(f"{split} {len(lines)}\n".encode())
            for line in lines:
                whole.update(f"{line.label}\t{line.text}\n".encode("utf-8", "replace"))
        whole.update("\n".join(self.unlabelled).encode("utf-8", "replace"))
        return whole.hexdigest()[:16]


def read_sentences(directory: Path, name: str = "", skips: bool = False) -> Sentences:
    """All labelled sentences of a folder.

    Args:
        directory: with ``train.tsv`` and so on, with ``NAME.train.tsv`` and so on, or with a folder of text
            files per class.
        name: which of several data sets of the folder; empty where there is one.
        skips: whether lines that are of no use are left out and counted.

    Raises:
        DataError: nothing usable there, or a line is of no use; the message says which, and what to do.
    """
    check_directory(directory, HINT)
    there = files_in(directory)
    tables = [match for each in there if (match := TABLE.fullmatch(each)) and split_of(match["split"])]
    sets = sorted({match["set"] or "" for match in tables})
    if not tables:
        found = _of_folders(directory, skips)
    else:
        if name not in sets and (name or len(sets) > 1):
            raise DataError(
                f"{say(directory)} has the data sets {', '.join(filter(None, sets))}; say which with --set"
            )
        chosen = name if name in sets else sets[0]
        found = _of_tables(directory, [each for each in tables if (each["set"] or "") == chosen], skips)
    for each in UNLABELLED:
        if each in there:
            found.unlabelled += [
                normalised(line) for line in split_lines(_text(directory / each)) if normalised(line)
            ]
    _check(found, directory, skips)
    return found


def _of_tables(directory: Path, tables: list[re.Match[str]], skips: bool) -> Sentences:
    found = Sentences({})
    for table in tables:
        split = split_of(table["split"])
        assert split is not None
        if split in found.splits:
            raise DataError(f"{say(directory)} has two files of the {split} split; keep one of them")
        read = _tsv if table["kind"] == "tsv" else _csv
        found.splits[split] = read(directory / table[0], found.left_out, skips)
    if "train" not in found.splits:
        raise DataError(f"{say(directory)} has no train.tsv or train.csv; {HINT}")
    return found


def _tsv(path: Path, left_out: Tallies, skips: bool) -> list[Line]:
    lines: list[Line] = []
    for number, row in enumerate(split_lines(_text(path)), 1):
        label, tab, text = row.partition("\t")
        why = "" if tab else "has no tab between label and sentence"
        _take(
            lines, Line(label.strip(), normalised(text), f"{path.name}, line {number}"), why, left_out, skips
        )
    return lines


def _csv(path: Path, left_out: Tallies, skips: bool) -> list[Line]:
    """Rows of two cells, or of those that a heading calls ``label`` and ``text`` (or ``sentence``)."""
    lines: list[Line] = []
    rows = csv.reader(io.StringIO(_text(path), newline=""))
    label_at, text_at = 0, 1
    try:
        for number, row in enumerate(rows, 1):
            heads = [cell.strip().casefold() for cell in row]
            if number == 1 and "label" in heads and {"text", "sentence"} & set(heads):
                label_at = heads.index("label")
                text_at = next(place for place, head in enumerate(heads) if head in ("text", "sentence"))
                continue
            enough = len(row) > max(label_at, text_at)
            why = "" if enough else "has no two cells, a label and a sentence"
            label, text = (row[label_at], row[text_at]) if enough else ("", "")
            place = f"{path.name}, line {rows.line_num}"
            _take(lines, Line(label.strip(), normalised(text), place), why, left_out, skips)
    except csv.Error as error:
        raise DataError(
            f"{path.name}, line {rows.line_num} is no CSV ({shown(str(error))}); mend it"
        ) from error
    return lines


def _of_folders(directory: Path, skips: bool) -> Sentences:
    names = folders_in(directory)
    splits = {split_of(name): name for name in names if split_of(name)}
    if not names or (splits and (len(splits) < len(names) or "train" not in splits)):
        raise DataError(f"{say(directory)} has no sentences that are laid out so; {HINT}")
    found = Sentences({})
    for split, prefix in ((each, splits[each]) for each in SPLITS if each in splits):
        found.splits[split] = _of_classes(directory, f"{prefix}/", found.left_out, skips)
    if not splits:
        found.splits["train"] = _of_classes(directory, "", found.left_out, skips)
    return found


def _of_classes(directory: Path, prefix: str, left_out: Tallies, skips: bool) -> list[Line]:
    lines: list[Line] = []
    for name in folders_in(directory / prefix):
        for file in files_in(directory / prefix / name):
            place = f"{prefix}{name}/{file}"
            if file.endswith(".txt"):
                text = normalised(" ".join(split_lines(_text(directory / place))))
                _take(lines, Line(shown(name, LONGEST_CLASS), text, place), "", left_out, skips)
            else:
                left_out.add("files that are no .txt", place)
    return lines


def _take(lines: list[Line], line: Line, why: str, left_out: Tallies, skips: bool) -> None:
    """Append a line, or say what is wrong with it."""
    why = why or ("has no label" if not line.label else "" if line.text else "has an empty sentence")
    if not why:
        lines.append(line._replace(label=shown(line.label, LONGEST_CLASS)))
    elif skips:
        left_out.add(NO_USE, line.place)
    else:
        raise DataError(f"{line.place} {why}; mend or remove it, or pass --skip-unreadable")


def _check(found: Sentences, directory: Path, skips: bool) -> None:
    classes = found.classes
    if len(classes) < 2:
        raise DataError(
            f"the training split in {say(directory)} has {len(classes)} classes; there must be at least two"
        )
    for split in SPLITS[1:]:
        known = []
        for line in found.splits.get(split, []):
            if line.label in classes:
                known.append(line)
            elif skips:
                found.left_out.add(NO_USE, line.place)
            else:
                raise DataError(
                    f"{line.place} has the label {line.label}, which the training split lacks; it has "
                    f"{', '.join(classes[:8])}; mend or remove it, or pass --skip-unreadable"
                )
        if split in found.splits:
            found.splits[split] = known
            if not known:
                raise DataError(f"the {split} split in {say(directory)} has no sentences; fill or remove it")


def _text(path: Path) -> str:
    try:
        data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise cannot_be_read(path, error) from error
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        number = data[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path.name}, line {number} is not UTF-8 (byte 0x{data[error.start]:02x}); convert the file to "
            "UTF-8"
        ) from error


def copies(splits: Mapping[str, list[Line]]) -> Tallies:
    """Counts the sentences of validation and test that the training split has, too."""
    doubtful = Tallies()
    trained = {line.text for line in splits["train"]}
    for split in SPLITS[1:]:
        for line in splits.get(split, []):
            if line.text in trained:
                doubtful.add(f"{split} sentences that the training split has, too", line.place)
    return doubtful
