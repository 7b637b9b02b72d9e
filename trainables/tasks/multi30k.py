"""Multi30k: descriptions of photographs, in German and in English."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trainables.part import check_choice
from trainables.tasks.base import Arrays, DataError
from trainables.tasks.text import TextTask, numbered
from trainables.tasks.text_files import names_in, read_pairs

LANGUAGES = ("de", "en")
TESTS = {
    "test_2016_flickr": 1000,
    "test_2017_flickr": 1000,
    "test_2017_mscoco": 461,
    "test_2018_flickr": 1071,
}
PAIRS = {"train": 29_000, "val": 1014} | TESTS
"""What was published; other numbers are other data."""


@dataclass(frozen=True)
class Multi30k(TextTask):
    """29,000 German-English pairs on what photographs show (Elliott et al. 2016), translated to English.

    Read are the files of the repository's raw folder, ``train``, ``val`` and the test set, each as ``.de``
    and ``.en``, plain or ``.gz``. Their words are neither lower-cased nor tokenised.

    Attributes:
        test: which test set; default ``test_2016_flickr``.
        vocabulary_size: default 8000.
        subwords: default ``bpe``.
        batch_tokens: default 1024.
        max_length: default 128.
        label_smoothing: default 0.1.
    """

    test: str = "test_2016_flickr"
    vocabulary_size: int = 8000
    subwords: str = "bpe"
    batch_tokens: int = 1024
    max_length: int = 128
    label_smoothing: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "test", TESTS)

    def load(self, directory: Path | None, *, download: bool = False) -> Arrays:
        """Read the six files, learn the vocabulary and number the words.

        Raises:
            DataError: they are not there, damaged, or not as long as published.
        """
        if directory is None:
            raise DataError(
                "Multi30k is not embedded; pass --data DIR with train, val and test files, .de and .en"
            )
        names_in(directory)
        splits = {}
        for split, stem in (("train", "train"), ("validation", "val"), ("test", self.test)):
            splits[split] = read_pairs(directory, stem, LANGUAGES, self.max_length)
            if (count := len(splits[split].source)) != PAIRS[stem]:
                raise DataError(
                    f"{splits[split].names[0]} has {count} lines, but Multi30k has {PAIRS[stem]}; "
                    "put the published files there, or use them as text_pairs"
                )
        return numbered(splits, self)
