"""Any two line-aligned text files per split: how users bring their own translations."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trainables.tasks.base import SPLITS, Arrays, DataError
from trainables.tasks.folders import say
from trainables.tasks.notes import DataNotes, Tallies
from trainables.tasks.text import Pairs, TextTask, numbered
from trainables.tasks.text_files import NAME, digest_of, languages_in, names_in, read_pairs, stems_in


@dataclass(frozen=True)
class TextPairs(TextTask):
    """Sentences and their translations, a line each in two UTF-8 files per split, made by :meth:`scan`.

    Two layouts are read, plain or compressed (``.gz``): ``train.de`` and ``train.en``, and OpenNMT's
    ``src-train.txt`` and ``tgt-train.txt``. Validation is called ``val``, ``valid``, ``validation`` or
    ``dev``; the test is called ``test`` and anything behind it.

    Attributes:
        source: language that is translated, as in the names of its files.
        target: language that it is translated to.
        validation: name of the validation files without the language.
        test: likewise of the test files.
        digest: first 16 hex digits of the SHA-256 over the lines of all six files, so that recipes on
            different sentences never have one identity.
        vocabulary_size: default 8000.
        subwords: default ``bpe``.
        batch_tokens: default 4096.
        max_length: default 256.
        label_smoothing: default 0.1.
    """

    source: str
    target: str
    validation: str
    test: str
    digest: str
    vocabulary_size: int = 8000
    subwords: str = "bpe"
    batch_tokens: int = 4096
    max_length: int = 256
    label_smoothing: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("source", "target", "validation", "test"):
            if not re.fullmatch(NAME, getattr(self, name)):  # they become names of files
                raise ValueError(f"{name} must be a plain name, got {name}={getattr(self, name)!r}")
        if self.source == self.target:
            raise ValueError(f"source and target must differ, got {self.source!r} twice")
        if not re.fullmatch("[0-9a-f]{16}", self.digest):
            raise ValueError(f"digest must be 16 hex digits, got digest={self.digest!r}")

    @classmethod
    def scan(
        cls,
        directory: Path,
        source: str | None = None,
        target: str | None = None,
        test: str | None = None,
        **settings: Any,
    ) -> TextPairs:
        """The task of the files in ``directory``, all of which are read and checked.

        Args:
            directory: see the class.
            source: language to translate from; None is ``src``, or the first by alphabet of two.
            target: language to translate to; None is ``tgt``, or the other of two.
            test: which test files to use, such as ``test_2016_flickr``; None is the first by alphabet. The
                task's ``test`` says which it was.
            settings: further fields, such as ``vocabulary_size``.

        Raises:
            DataError: nothing usable there; the message says what, with file and line, and what to do.
            ValueError: a setting out of its range.
        """
        return cls.examine(directory, source, target, test, **settings)[0]

    @classmethod
    def examine(
        cls,
        directory: Path,
        source: str | None = None,
        target: str | None = None,
        test: str | None = None,
        **settings: Any,
    ) -> tuple[TextPairs, DataNotes]:
        """The same task, and what was found about the sentences.

        Args:
            directory: see the class.
            source: see :meth:`scan`.
            target: see :meth:`scan`.
            test: see :meth:`scan`.
            settings: see :meth:`scan`.

        Raises:
            DataError: nothing usable there; the message says what, with file and line, and what to do.
            ValueError: a setting out of its range.
        """
        names = names_in(directory)
        if (source is None) != (target is None):
            raise ValueError(f"give both source and target or neither, got {source=} and {target=}")
        languages = languages_in(directory, names) if source is None or target is None else (source, target)
        _, validation, test = stems_in(directory, names, languages, test)
        task = cls(*languages, validation, test, digest="0" * 16, **settings)
        splits = task._read(directory)
        used = sum(len(pairs.source) for pairs in splits.values())
        notes = DataNotes(used, doubtful=_copies(splits).all())
        return replace(task, digest=digest_of(splits)), notes

    def load(self, directory: Path | None, *, download: bool = False) -> Arrays:
        """Read all files, learn the vocabulary and number the words.

        Raises:
            DataError: ``directory`` is missing or unusable, or holds other sentences than were scanned.
        """
        if directory is None:
            raise DataError("text pairs are not embedded; pass --data DIR with the folder of text files")
        names_in(directory)
        splits = self._read(directory)
        digest = digest_of(splits)
        if digest != self.digest:
            raise DataError(
                f"the sentences in {say(directory)} are not those of the recipe (digest {digest} instead of "
                f"{self.digest}); pass --data DIR with the original folder"
            )
        return numbered(splits, self)

    def _read(self, directory: Path) -> dict[str, Pairs]:
        stems = ("train", self.validation, self.test)
        return {
            split: read_pairs(directory, stem, (self.source, self.target), self.max_length)
            for split, stem in zip(SPLITS, stems, strict=True)
        }


def _copies(splits: Mapping[str, Pairs]) -> Tallies:
    """Counts the pairs of validation and test that are in the training split, too."""
    copies = Tallies()
    trained = set(zip(splits["train"].source, splits["train"].target, strict=True))
    for split in SPLITS[1:]:
        pairs = splits[split]
        for number, pair in enumerate(zip(pairs.source, pairs.target, strict=True), 1):
            if pair in trained:
                name = Path(pairs.names[0]).name
                copies.add(f"{split} pairs that the training split has, too", f"{name}, line {number}")
    return copies
