"""Translation: what the text tasks share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, NamedTuple

import numpy as np
import torch
from torch import Tensor

from trainables.interfaces import EncoderDecoder
from trainables.memory import Top
from trainables.metrics.translation import signatures
from trainables.part import check_choice
from trainables.ranges import Range
from trainables.tasks.base import SPLITS, Arrays, DataError, Task
from trainables.tasks.loaded_text import SIDES, LoadedText
from trainables.tasks.vocabulary import (
    LARGEST,
    SMALLEST,
    SUBWORDS,
    Vocabulary,
    VocabularyError,
    learn,
    sentencepiece_model,
)
from trainables.translation.sentences import END


class TextTask(Task):
    """A task of translating sentences; members declare these as fields.

    Attributes:
        vocabulary_size: tokens of the one vocabulary of both languages, special ones included, in
            [32, 65536]. It is learnt from the training split.
        subwords: ``bpe`` or ``unigram``.
        batch_tokens: most tokens of a training batch in its longer side, padding included, in
            [``max_length``, 1048576].
        max_length: most tokens of a sentence, its end included, in [8, 4096]; longer ones are refused.
        label_smoothing: share of the target distribution that all tokens share evenly, in [0, 1).
    """

    vocabulary_size: Annotated[int, Range(SMALLEST, LARGEST)]
    subwords: str
    batch_tokens: Annotated[int, Range(8, 2**20)]
    max_length: Annotated[int, Range(8, 4096)]
    label_smoothing: Annotated[float, Range(0.0, 1.0, excluded="high")]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "subwords", SUBWORDS)
        if self.batch_tokens < self.max_length:
            raise ValueError(
                f"batch_tokens must be at least max_length, which is {self.max_length}, "
                f"got batch_tokens={self.batch_tokens}"
            )

    @property
    def metric(self) -> str:
        """sacreBLEU's score of plain text, in [0, 100]."""
        return "bleu"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(vocabulary size,): a sentence has no fixed length."""
        return (self.vocabulary_size,)

    @property
    def outputs(self) -> int:
        """One logit per token of the vocabulary, at each position."""
        return self.vocabulary_size

    @property
    def interface(self) -> EncoderDecoder:
        """A sentence in, another token by token."""
        return EncoderDecoder(self.vocabulary_size)

    def companions(self, assets: Mapping[str, Tensor]) -> dict[str, bytes]:
        """``vocabulary.model``, which sentencepiece reads; numbers of tokens are those of the network."""
        return {"vocabulary.model": sentencepiece_model(assets["vocabulary"].numpy())}

    def signatures(self) -> dict[str, str]:
        """sacreBLEU's, of ``bleu`` and ``chrf``."""
        return signatures()

    @property
    def memory(self) -> Top:
        """The 32 most probable tokens at each position."""
        return Top()

    def open(self, arrays: Arrays, device: torch.device, seed: int) -> LoadedText:
        """See :class:`LoadedText`."""
        loaded = LoadedText(
            arrays, device, seed, batch_tokens=self.batch_tokens, label_smoothing=self.label_smoothing
        )
        if loaded.vocabulary.size != self.vocabulary_size:
            raise ValueError(
                f"the arrays' vocabulary must have {self.vocabulary_size} tokens, "
                f"got {loaded.vocabulary.size}"
            )
        return loaded


class Pairs(NamedTuple):
    """Sentences of one split; line i of ``target`` says what line i of ``source`` says.

    ``names`` are what messages call the two sides, such as their files.
    """

    source: Sequence[str]
    target: Sequence[str]
    names: tuple[str, str]


def numbered(splits: Mapping[str, Pairs], task: TextTask) -> Arrays:
    """The arrays of :class:`LoadedText`, with a vocabulary learnt from the training split.

    Raises:
        DataError: the training split does not support the vocabulary, or a sentence is empty or longer than
            ``task.max_length`` tokens.
    """
    train = splits["train"]
    try:
        data = learn((*train.source, *train.target), task.vocabulary_size, task.subwords)
    except VocabularyError as error:
        raise DataError(
            f"{error}; give another size of the vocabulary (--vocabulary), or train on more text"
        ) from error
    vocabulary = Vocabulary(data)
    arrays: dict[str, np.ndarray] = {"vocabulary": data}
    for split in SPLITS:
        pairs = splits[split]
        for side, lines, name in zip(SIDES, pairs, pairs.names, strict=False):
            rows = [[*vocabulary.encode(line), END] for line in lines]
            _check_lengths(rows, name, task.max_length)
            arrays[f"{split}_{side}"] = np.array([token for row in rows for token in row], dtype=np.int32)
            arrays[f"{split}_{side}_lengths"] = np.array([len(row) for row in rows], dtype=np.int64)
        arrays[f"{split}_references"] = np.frombuffer("\n".join(pairs.target).encode(), dtype=np.uint8)
    return arrays


def _check_lengths(rows: Sequence[Sequence[int]], name: str, most: int) -> None:
    for number, row in enumerate(rows, 1):
        if not 1 < len(row) <= most:
            reason = f"has {len(row)} tokens, more than max_length={most}" if len(row) > 1 else "is empty"
            raise DataError(f"{name}, line {number} {reason}; remove the pair from both files, or split it")
