"""Line-aligned text files: which there are, what is in them, what is wrong with them."""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from trainables.foreign import shown
from trainables.tasks.base import SPLITS, DataError
from trainables.tasks.folders import check_directory, files_in, say
from trainables.tasks.text import Pairs
from trainables.tasks.vocabulary import normalised

NAME = r"[A-Za-z0-9][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*"
"""Of a split's files without the language, and of a language: nothing that leads out of the folder."""

VALIDATION = ("dev", "val", "valid", "validation")
NO_LANGUAGES = ("csv", "gz", "json", "log", "md", "tsv", "txt", "zip")
HINT = (
    "pass --data DIR with train.de and train.en (or src-train.txt and tgt-train.txt), val and test likewise"
)


class Name(NamedTuple):
    """What a file's name says: ``train.de.gz`` is of ``train`` in ``de``; ``src-train.txt`` in ``src``."""

    stem: str
    language: str


def file_names(name: Name) -> tuple[str, ...]:
    """What the file may be called, in both layouts, plain and compressed."""
    plain = (f"{name.stem}.{name.language}", f"{name.language}-{name.stem}.txt")
    return tuple(text + suffix for text in plain for suffix in ("", ".gz"))


def names_in(directory: Path) -> list[Name]:
    """What is in ``directory`` and named like text of a split in a language, sorted.

    Raises:
        DataError: it is no directory, or cannot be read.
    """
    check_directory(directory, HINT)
    found = set()
    for name in files_in(directory):
        plain = name.removesuffix(".gz")
        if match := re.fullmatch(rf"(src|tgt)-({NAME})\.txt", plain):
            found.add(Name(match[2], match[1]))
        elif match := re.fullmatch(rf"({NAME})\.([A-Za-z]{{2,8}}(?:[_-][A-Za-z0-9]+)*)", plain):
            found.add(Name(match[1], match[2]))
    return sorted(name for name in found if name.language not in NO_LANGUAGES)


def languages_in(directory: Path, names: Sequence[Name]) -> tuple[str, str]:
    """The two languages of the training split: ``src`` and ``tgt``, or two others by alphabet.

    Raises:
        DataError: there are not two.
    """
    found = sorted({name.language for name in names if name.stem == "train"})
    if "src" in found and "tgt" in found:
        return "src", "tgt"
    if len(found) != 2:
        raise DataError(
            f"{say(directory)} has train in {len(found)} languages ({', '.join(found) or 'none'}); "
            + (HINT if len(found) < 2 else "say which two with --source and --target")
        )
    return found[0], found[1]


def stems_in(
    directory: Path, names: Sequence[Name], languages: tuple[str, str], test: str | None
) -> list[str]:
    """What the files of the three splits are called; of several tests the first by alphabet, or ``test``.

    Raises:
        DataError: a split has no files or several, or lacks one language.
    """
    stems = {language: {name.stem for name in names if name.language == language} for language in languages}
    everything = set.union(*stems.values())
    tests = sorted(stem for stem in everything if stem.startswith("test"))
    choices = {
        "train": ["train"] if "train" in everything else [],
        "validation": sorted(everything & set(VALIDATION)),
        "test": tests[:1] if test is None else [stem for stem in tests if stem == test],
    }
    for split in SPLITS:
        found = choices[split]
        if not found:
            wanted = f" named {test}" if split == "test" and test is not None else ""
            raise DataError(
                f"{say(directory)} has no {split} files{wanted} in {' and '.join(languages)}; {HINT}"
            )
        if len(found) > 1:
            raise DataError(f"{say(directory)} has both {found[0]} and {found[1]} files; keep one of them")
        for language in languages:
            if found[0] not in stems[language]:
                missing = file_names(Name(found[0], language))[1 if language in ("src", "tgt") else 0]
                raise DataError(f"{say(directory)} has {found[0]} in one language only; add {missing}")
    return [choices[split][0] for split in SPLITS]


def read_pairs(directory: Path, stem: str, languages: tuple[str, str], max_length: int) -> Pairs:
    """The two files of one split.

    Raises:
        DataError: one is missing, unreadable, not UTF-8, or has a line that is blank or has more words than
            ``max_length`` tokens could hold; or they differ in length.
    """
    files = [_found(directory, Name(stem, language)) for language in languages]
    source, target = (_lines(file, max_length) for file in files)
    if len(source) != len(target):
        raise DataError(
            f"{say(files[0])} has {len(source)} lines and {files[1].name} {len(target)}; "
            "line i of one must be the translation of line i of the other (CR, LF and CRLF end lines)"
        )
    return Pairs(source, target, (str(files[0]), str(files[1])))


def digest_of(splits: Mapping[str, Pairs]) -> str:
    """16 hex digits of a hash of all sentences; compression and the kind of line ends do not matter."""
    whole = hashlib.sha256()
    for split in SPLITS:
        for lines in splits[split][:2]:
            whole.update(hashlib.sha256("\n".join(lines).encode()).digest())
    return whole.hexdigest()[:16]


def split_lines(text: str) -> list[str]:
    """The lines of ``text`` without their ends, CR, LF or CRLF.

    Unlike ``str.splitlines``, which cuts sentences at separators that may stand in them, such as U+2028.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return lines if lines[-1] else lines[:-1]


def _found(directory: Path, name: Name) -> Path:
    files = [directory / text for text in file_names(name) if (directory / text).is_file()]
    if not files:
        raise DataError(f"{say(directory)} has no file {name.stem}.{name.language}; {HINT}")
    if len(files) > 1:
        raise DataError(f"{say(directory)} has both {files[0].name} and {files[1].name}; keep one of them")
    return files[0]


def _lines(file: Path, max_length: int) -> list[str]:
    """The lines without their ends, which are CR, LF or CRLF; text may hold any other separator."""
    try:
        data = file.read_bytes()
        if file.suffix == ".gz":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{say(file)} cannot be read ({shown(str(error))}); repair it") from error
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        number = len(split_lines(data[: error.start].decode("utf-8") + "."))
        raise DataError(
            f"{say(file)}, line {number} is not UTF-8 (byte 0x{data[error.start]:02x}); convert the file to "
            "UTF-8"
        ) from error
    lines = split_lines(text)
    if not lines:
        raise DataError(f"{say(file)} is empty; it needs a sentence a line")
    for number, line in enumerate(lines, 1):
        words = normalised(line).count(" ") + 1
        if not normalised(line):
            raise DataError(f"{say(file)}, line {number} is blank; remove the pair from both files")
        if words >= max_length:
            raise DataError(
                f"{say(file)}, line {number} has {words} words and more than max_length={max_length} tokens; "
                "remove the pair from both files, or split it"
            )
    return lines
