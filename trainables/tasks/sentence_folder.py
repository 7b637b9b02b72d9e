"""Labelled sentences: how users bring their own texts to be classified."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from trainables.arrays import shared_tensor
from trainables.data.kept import sha256_of
from trainables.interfaces.tensors import Tensors
from trainables.labels import labelled_samples
from trainables.memory import Whole
from trainables.part import check_choice
from trainables.ranges import Range
from trainables.samples import LONGEST_TEXT, Samples
from trainables.signature import Signature
from trainables.tasks.base import SPLITS, Arrays, DataError, Task
from trainables.tasks.folders import say
from trainables.tasks.loaded_classes import UNKNOWN_LABEL, Key, LoadedClasses, Serving
from trainables.tasks.notes import DataNotes, Tallies
from trainables.tasks.scoring import check_class_quality
from trainables.tasks.sentence_files import Line, Sentences, copies, read_sentences
from trainables.tasks.splits import stratified
from trainables.tasks.vocabulary import (
    KINDS,
    LARGEST,
    SMALLEST,
    WORDS,
    Vocabulary,
    VocabularyError,
    learn,
    sentencepiece_model,
)

HELD_OUT = 0.1
"""Share of the training split that a missing split is drawn from."""
EVALUATION_BATCH_SIZE = 500
LONGEST = 256
MOST_WORDS, MOST_SUBWORDS = 20_000, 4000
"""Tokens of a vocabulary where nothing else is asked for."""
SET_OFF = re.compile(
    r"""(?<=\w)(?=[,!?;:)\]"”»…][.,!?;:)\]"”»…]*(?:\s|$))|(?<=\w\w)(?=\.[.,!?;:)\]"”»…]*(?:\s|$))"""
    r"""|(?<=[(\["“„«])(?=\w)"""
)
"""Where a word meets punctuation before or behind it, but for the point of initials such as ``U.S.``."""
SHARE_WHOLE = 0.995
"""Of the training sentences, that are no longer than a network's input."""


@dataclass(frozen=True)
class SentenceFolder(Task):
    """Sentences of classes, in files or folders, made by :meth:`examine`.

    Files are ``train``, ``validation`` and ``test``, as ``.tsv`` (label, tab, sentence) or ``.csv``, also
    with the name of a data set before them, ``trec.train.tsv``; or there is a folder of text files per class.
    Missing splits are 10 % each of the training split, of every class; sentences that are there several times
    stay on one side. Beside them may lie ``unlabelled.txt`` with a sentence per line.

    Attributes:
        classes: the labels of the training split, sorted; label ``i`` means ``classes[i]``.
        digest: first 16 hex digits of the SHA-256 of all labels and sentences.
        length: tokens of a network's input, in [4, 1024]: longer sentences are cut, shorter ones padded.
        set: the data set, where the folder has several; default none.
        vocabulary_size: tokens of the vocabulary, which is learnt from the training split, special ones
            included, in [32, 65536]; default 20,000 words or 4,000 subwords, or as many as the text supports
            where that is less.
        subwords: ``word`` (default): whole words, punctuation apart, all others being unknown; ``unigram`` or
            ``bpe``.
        lowercase: whether sentences are put into small letters; default True.
        labels: share of the training sentences whose labels are used, in (0, 1]; default 1. The others are
            used like those of the unlabelled file: a teacher's answers to them are imitated.
        skips: whether lines that are of no use are left out; default False.
        batch_size: sentences per training step, in [2, 65536]; default 50.
        quality: default ``accuracy``, see :data:`trainables.metrics.samples.OF_CLASSES`.
    """

    classes: tuple[str, ...]
    digest: str
    length: Annotated[int, Range(4, 1024)]
    set: str = ""
    vocabulary_size: Annotated[int, Range(SMALLEST, LARGEST)] = MOST_WORDS
    subwords: str = WORDS
    lowercase: bool = True
    labels: Annotated[float, Range(0.0, 1.0, excluded="low")] = 1.0
    skips: bool = False
    batch_size: Annotated[int, Range(2, 65_536)] = 50
    quality: str = "accuracy"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "subwords", KINDS)
        check_class_quality(self.quality)
        if len(self.classes) < 2 or list(self.classes) != sorted({*self.classes}):
            raise ValueError(f"classes must be at least 2 names, sorted, none twice, got {self.classes}")
        if not re.fullmatch("[0-9a-f]{16}", self.digest):
            raise ValueError(f"digest must be 16 hex digits, got digest={self.digest!r}")
        if not re.fullmatch(r"[A-Za-z0-9_-]{0,100}", self.set):
            raise ValueError(f"set must be the beginning of files' names, got set={self.set!r}")

    @property
    def metric(self) -> str:
        """The :attr:`quality`."""
        return self.quality

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(vocabulary, length)."""
        return (self.vocabulary_size, self.length)

    @property
    def outputs(self) -> int:
        """One logit per class."""
        return len(self.classes)

    @property
    def memory(self) -> Whole:
        """All logits of each sentence."""
        return Whole()

    @property
    def interface(self) -> Tensors:
        """The tokens of one sentence in, logits out."""
        tokens = Signature("", (self.length,), "int64", 0, self.vocabulary_size - 1)
        return Tensors((tokens,), (self.outputs,), True)

    @property
    def preprocessing(self) -> dict[str, Any]:
        """How sentences become tokens."""
        inputs = "numbers of tokens in vocabulary.model, cut to the length, padded with 0"
        facts = {"inputs": inputs, "length": self.length, "lowercase": self.lowercase}
        return facts | ({"blanks_at": SET_OFF.pattern} if self.subwords == WORDS else {})

    def shown_samples(self, arrays: Arrays, split: str, index: np.ndarray) -> Samples | None:
        """The sentences, as networks read them: cut, and with the letters that the vocabulary has."""
        vocabulary, tokens = Vocabulary(arrays["vocabulary"]), arrays[f"{split}_tokens"]
        found = {int(number): vocabulary.decode(tokens[number])[:LONGEST_TEXT] for number in index}
        return Samples("text", self.classes, {split: found})

    def companions(self, assets: Mapping[str, Tensor]) -> dict[str, bytes]:
        """``vocabulary.model``, which sentencepiece reads; numbers of tokens are those of the network."""
        return {"vocabulary.model": sentencepiece_model(assets["vocabulary"].numpy())}

    def signatures(self) -> dict[str, str]:
        """None: a share of sentences says it all."""
        return {}

    @classmethod
    def examine(cls, directory: Path, **settings: Any) -> tuple[SentenceFolder, DataNotes]:
        """The task of the sentences in ``directory``, and what was found about them.

        Args:
            directory: see the class.
            settings: further fields, such as ``vocabulary_size`` or ``labels``.

        Raises:
            DataError: nothing usable there; the message says what, with file and line, and what to do.
            ValueError: a setting out of its range.
        """
        found = read_sentences(directory, settings.get("set", ""), settings.get("skips", False))
        task = cls(found.classes, found.digest, LONGEST, **settings)
        if "vocabulary_size" not in settings:
            wanted = MOST_WORDS if task.subwords == WORDS else MOST_SUBWORDS
            task = replace(task, vocabulary_size=task._supported(found, wanted))
        vocabulary = Vocabulary(task._learnt(found))
        sizes = sorted(len(vocabulary.encode(task._seen(each.text))) for each in found.splits["train"])
        longest = sizes[min(len(sizes) - 1, int(SHARE_WHOLE * len(sizes)))]
        task = replace(task, length=min(LONGEST, max(8, -(-longest // 8) * 8)))
        cut, changed = sum(size > task.length for size in sizes), Tallies()
        for _ in range(cut):
            changed.add(f"sentences cut to {task.length} tokens", "train")
        used = sum(map(len, found.splits.values())) + len(found.unlabelled)
        tallies = (each.all() for each in (found.left_out, changed, copies(found.splits)))
        return task, DataNotes(used, (), *tallies)

    def load(self, directory: Path | None, *, download: bool = False) -> Arrays:
        """Read all sentences, learn the vocabulary and number the words.

        Raises:
            DataError: ``directory`` is missing or unusable, or holds other sentences than were examined.
        """
        if directory is None:
            raise DataError("sentences are not embedded; pass --data DIR with the folder of files")
        found = read_sentences(directory, self.set, self.skips)
        if found.digest != self.digest:
            raise DataError(
                f"the sentences in {say(directory)} are not those of the recipe (digest {found.digest} "
                f"instead of {self.digest}); pass --data DIR with the original folder"
            )
        splits = drawn_sentences(found, self.classes)
        learnt = self._learnt(found)
        vocabulary, arrays = Vocabulary(learnt), {"vocabulary": learnt}
        for split in SPLITS:
            lines = splits[split]
            texts = [line.text for line in lines] + (found.unlabelled if split == "train" else [])
            labels = np.full(len(texts), UNKNOWN_LABEL, dtype=np.int64)
            labels[: len(lines)] = [self.classes.index(line.label) for line in lines]
            if split == "train" and self.labels < 1:
                kept = labelled_samples(self.labels, len(lines)).numpy()
                labels[: len(lines)][~kept] = UNKNOWN_LABEL
            arrays[f"{split}_tokens"] = np.stack([self.numbered(vocabulary, text) for text in texts])
            arrays[f"{split}_labels"] = labels
        return arrays

    def numbered(self, vocabulary: Vocabulary, text: str) -> np.ndarray:
        """A sentence as a network takes it: int32, shape (length,)."""
        numbers = vocabulary.encode(self._seen(text))[: self.length]
        return np.array(numbers + [0] * (self.length - len(numbers)), dtype=np.int32)

    def open(self, arrays: Arrays, device: torch.device, seed: int) -> LoadedSentences:
        """See :class:`LoadedSentences`."""
        return LoadedSentences(self, arrays, device, seed)

    def _seen(self, text: str) -> str:
        """A sentence as the vocabulary sees it: small letters, and punctuation apart from words."""
        text = text.lower() if self.lowercase else text
        return SET_OFF.sub(" ", text) if self.subwords == WORDS else text

    def _supported(self, found: Sentences, wanted: int) -> int:
        """The size that is wanted of a vocabulary, or the largest that the text supports."""
        try:
            learn(self._lines(found), wanted, self.subwords)
        except VocabularyError as error:
            most = re.search(r"at most (\d+) tokens", str(error))
            if most is not None and int(most[1]) >= SMALLEST:
                return int(most[1])
        return wanted

    def _lines(self, found: Sentences) -> list[str]:
        """What the vocabulary is learnt from."""
        lines = [line.text for line in found.splits["train"]] + found.unlabelled
        return list(map(self._seen, lines))

    def _learnt(self, found: Sentences) -> np.ndarray:
        try:
            return learn(self._lines(found), self.vocabulary_size, self.subwords)
        except VocabularyError as error:
            raise DataError(
                f"{error}; give another size of the vocabulary (--vocabulary), or train on more text"
            ) from error


class LoadedSentences(LoadedClasses):
    """Token numbers and labels of all splits.

    Args:
        task: says what they are.
        arrays: per split ``<split>_tokens``, int32 of shape (n, length), and ``<split>_labels``, int64 of
            shape (n,), -1 where a training sentence has none; and ``vocabulary``, uint8.
        device: where batches appear.
        seed: drives the order.
    """

    views: int | None = 1
    asset_names = ("vocabulary",)

    def __init__(self, task: SentenceFolder, arrays: Arrays, device: torch.device, seed: int) -> None:
        for split in SPLITS:
            tokens, labels = arrays[f"{split}_tokens"], arrays[f"{split}_labels"]
            if tokens.shape != (len(labels), task.length) or not len(labels):
                raise ValueError(
                    f"{split}_tokens must have the shape ({len(labels)}, {task.length}), at least one row, "
                    f"got {tokens.shape}"
                )
        super().__init__(arrays, device, seed, Serving(task.batch_size, EVALUATION_BATCH_SIZE, task.quality))
        self._tokens = {split: shared_tensor(arrays[f"{split}_tokens"]).to(self.device) for split in SPLITS}

    def fingerprint(self) -> str:
        """A hash of the training sentences, which no view changes."""
        return sha256_of(self._arrays, "train_tokens")[:16]

    def _rows(self, split: str, index: Tensor) -> Tensor:
        return self._tokens[split][index.to(self.device)]

    def _part(self, split: str, start: int, stop: int) -> Tensor:
        return self._tokens[split][start:stop]

    def _inputs(self, stored: Tensor, index: Tensor, key: Key | None) -> Tensor:
        return stored.long()


def drawn_sentences(found: Sentences, classes: tuple[str, ...]) -> dict[str, list[Line]]:
    """All three splits; those that are missing are drawn, equal sentences together."""
    missing = [split for split in SPLITS[1:] if split not in found.splits]
    if not missing:
        return found.splits
    lines = found.splits["train"]
    first: dict[str, int] = {}
    for number, line in enumerate(lines):
        first.setdefault(line.text, number)
    leaders = np.array(sorted(first.values()))
    labels = np.array([classes.index(lines[number].label) for number in leaders])
    sizes = np.bincount(labels, minlength=len(classes))
    wanted = np.maximum(1, np.rint(HELD_OUT * sizes).astype(np.int64))
    counts = np.minimum(wanted, sizes // (1 + len(missing)))
    _, *parts = stratified(labels, [counts] * len(missing))
    held = zip(missing, parts, strict=True)
    homes = {lines[leaders[place]].text: split for split, part in held for place in part}
    drawn: dict[str, list[Line]] = {split: [] for split in ("train", *missing)}
    for line in lines:
        drawn[homes.get(line.text, "train")].append(line)
    for split in missing:
        if not drawn[split]:
            raise DataError(f"there are too few different sentences to draw a {split} split; add some")
    return found.splits | drawn
