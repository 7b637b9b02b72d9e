"""The embedded translation task: German-English sentences that a grammar makes of CLDR data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from trainables.tasks.base import Arrays, DataError
from trainables.tasks.text import Pairs, TextTask, numbered

SEED = 20_180_215
SIZES = {"train": 18_000, "validation": 1_000, "test": 1_000}
BABEL = "2.18.0"
DIGEST = "c50bc2c4d4b81aa0"
"""Of the sentences that this grammar makes of the data of Babel 2.18.0."""


@dataclass(frozen=True)
class Phrases(TextTask):
    """20,000 distinct German-English pairs, generated from CLDR data by a seeded grammar.

    The Unicode Consortium's CLDR, shipped by the Babel package, names territories, languages, units and
    currencies, and writes dates, times, amounts and lists in both languages. A grammar of some hundred
    words of its own (``trainables/tasks/grammar``) puts them into sentences in which German articles and
    adjectives agree with nouns in gender, number and case, and verbs stand second, first or last.

    18,000 pairs to train on, 1,000 for validation, 1,000 for the test. No German and no English sentence is
    twice among all 20,000. Nor do the splits share a statement: each pair of words that a sentence states (a
    verb and its object, a movement and its place, a language and its use, a thing and the unit or currency
    it is measured in) belongs to one split. They do share words: nouns, verbs, places, languages and units
    may be in any of them, and so may what is said beside the statement, such as subjects, adjectives, owners,
    dates and numbers.

    Attributes:
        vocabulary_size: default 2000.
        subwords: default ``bpe``.
        batch_tokens: default 1024.
        max_length: default 96; the longest sentence has about 60 tokens.
        label_smoothing: default 0.
        digest: first 16 hex digits of the SHA-256 of all sentences; default, that of the CLDR data in Babel
            2.18.0. With another Babel that says anything differently the task is refused, unless
            its digest is given: a recipe on other sentences is another recipe.
    """

    vocabulary_size: int = 2000
    subwords: str = "bpe"
    batch_tokens: int = 1024
    max_length: int = 96
    label_smoothing: float = 0.0
    digest: str = DIGEST

    def __post_init__(self) -> None:
        super().__post_init__()
        if not re.fullmatch("[0-9a-f]{16}", self.digest):
            raise ValueError(f"digest must be 16 hex digits, got digest={self.digest!r}")

    def load(self, directory: Path | None, *, download: bool = False) -> Arrays:
        """Make the sentences, which takes some seconds; there is no directory to give.

        Raises:
            DataError: a directory was given, or the installed Babel ships other CLDR data.
        """
        if directory is not None:
            raise DataError(f"the phrases come with the package; leave out --data (got {directory})")
        # Babel and the grammar's tables take a moment to import and only this task needs them.
        from trainables.tasks.grammar.splits import phrasebook

        book = phrasebook(SEED, SIZES)
        if book.digest != self.digest:
            raise DataError(
                f"the CLDR data of the installed Babel {version('babel')} gives other phrases than the "
                f"recipe's (digest {book.digest} instead of {self.digest}); install babel=={BABEL}"
            )
        splits = {}
        for split, pairs in book.pairs.items():
            german, english = zip(*pairs, strict=True)
            splits[split] = Pairs(german, english, (f"German {split} phrases", f"English {split} phrases"))
        return numbered(splits, self)
