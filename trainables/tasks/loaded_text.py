"""Sentences to translate, all of them on the device: batches, loss and quality."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.arrays import shared_tensor
from trainables.calling import main_output
from trainables.memory import Memory, Top
from trainables.metrics.evidence import EVIDENCE
from trainables.metrics.translation import bleu, chrf
from trainables.modes import evaluating
from trainables.predictions import Answers
from trainables.tasks.augmentation import mix
from trainables.tasks.base import SPLITS, Arrays, Batch, Measured
from trainables.tasks.vocabulary import (
    Vocabulary,
)
from trainables.translation.decoding import Search, beam_search, greedy, translate
from trainables.translation.sentences import BEGIN, END, PAD, Sentences

SIDES = ("source", "target")
EVALUATION_TOKENS = 8192
"""Of one side, padding included, in a batch that is only looked at."""

BEAM = 5
"""Hypotheses of the search that is reported; validation, which is asked every epoch, is greedy."""

FINGERPRINT_VERSION = 1
"""To be raised whenever batches of the same data change; outputs kept for them are then recomputed."""


class LoadedText:
    """Token numbers of all splits as flat tensors; batches are cut and padded on the device.

    Args:
        arrays: ``vocabulary`` (uint8, see :class:`~trainables.tasks.vocabulary.Vocabulary`); per split
            and side ("source", "target") ``<split>_<side>``, int32, all sentences' tokens one after the
            other, each ended by ``END``, and ``<split>_<side>_lengths``, int64; and per split
            ``<split>_references``, uint8, the targets as plain UTF-8 text, a line each. They may be
            read-only and are never written to. Without ``train_target`` there is no training split.
        device: where everything lies and batches appear.
        seed: drives shuffling.
        batch_tokens: most tokens of the longer side in a training batch, padding included.
        label_smoothing: see :class:`TextTask`.

    Attributes:
        vocabulary: of both sides.
    """

    memory: Memory = Top()
    views: int | None = 1

    def __init__(
        self, arrays: Arrays, device: torch.device, seed: int, *, batch_tokens: int, label_smoothing: float
    ) -> None:
        self.device = torch.device(device)
        self.vocabulary = Vocabulary(arrays["vocabulary"])
        self._vocabulary_bytes = arrays["vocabulary"]
        self._seed = seed
        self._label_smoothing = label_smoothing
        size = self.vocabulary.size
        self._sides: dict[str, _Sides] = {}
        self._references: dict[str, str] = {}
        for split in SPLITS if "train_target" in arrays else SPLITS[1:]:
            self._sides[split] = _Sides(*(_Rows(arrays, split, side, size, self.device) for side in SIDES))
            self._references[split] = arrays[f"{split}_references"].tobytes().decode()
            _check_counts(split, self._sides[split], self.references(split))
        self._batch_tokens = batch_tokens

    def assets(self) -> dict[str, Tensor]:
        """What a student is useless without: ``vocabulary``, uint8, shape (bytes,)."""
        return {"vocabulary": shared_tensor(self._vocabulary_bytes)}

    def batches(self, split: str, epoch: int, view: int | None = None) -> Iterator[Batch]:
        """One pass over ``split``; see :class:`trainables.tasks.base.LoadedTask`.

        Inputs are :class:`~trainables.translation.sentences.Sentences`; targets are int64 of shape (n, t),
        each row ended by ``END`` and filled up with ``PAD``. Text is not augmented: all views are view 0.
        Training batches hold pairs of like length; which, and in which order they come, is a function of
        (seed, epoch).

        Raises:
            ValueError: unknown split.
        """
        if split != "train":
            yield from self.in_order(split)
            return
        # How long a batch is that holds the pair. Sorted by it alone, pairs of one length are many, so that
        # those that meet in a batch differ from epoch to epoch, while the number of batches stays.
        longer = self._of(split).longer
        random = torch.Generator().manual_seed(mix(self._seed, epoch))
        order = torch.randperm(len(longer), generator=random)
        order = order[longer[order].argsort(stable=True)]
        parts = order.split(self._sizes)
        for number in torch.randperm(len(parts), generator=random).tolist():
            yield self._batch("train", parts[number], view)

    def in_order(self, split: str, view: int | None = None) -> Iterator[Batch]:
        """Every pair of ``split`` by ascending index; see :class:`trainables.tasks.base.LoadedTask`.

        Raises:
            ValueError: unknown split.
        """
        for index in self._consecutive(split):
            yield self._batch(split, index, view)

    def chosen(self, split: str, index: Tensor) -> Iterator[Batch]:
        """See :class:`trainables.tasks.base.LoadedTask`."""
        longer = self._of(split).longer[index]
        for part in index.split(_cut(longer.tolist(), EVALUATION_TOKENS)):
            yield self._batch(split, part, None)

    def fingerprint(self) -> str:
        """16 hex digits of a hash of the training pairs as numbers, and of the vocabulary."""
        digest = hashlib.sha256(repr(FINGERPRINT_VERSION).encode())
        digest.update(hashlib.sha256(self._vocabulary_bytes.tobytes()).digest())
        for rows in self._of("train"):
            for part in (rows.tokens, rows.lengths):
                digest.update(hashlib.sha256(part.cpu().numpy().tobytes()).digest())
        return digest.hexdigest()[:16]

    def steps(self, split: str) -> int:
        """How many batches :meth:`batches` yields: in every epoch as many."""
        return len(self._sizes) if split == "train" else len(self._consecutive(split))

    def samples(self, split: str) -> int:
        """How many pairs ``split`` has.

        Raises:
            ValueError: unknown split.
        """
        return len(self._of(split).source.lengths)

    def rows(self, split: str) -> int:
        """One per target token, ``END`` included.

        Raises:
            ValueError: unknown split.
        """
        return int(self._of(split).target.lengths.sum())

    def row_numbers(self, batch: Batch) -> Tensor:
        """Where each target token of the batch stands among all of the training split."""
        count = batch.targets.numel() if batch.counted is None else len(batch.counted)
        return self._of("train").target.places(batch.index, count)

    def labels(self, split: str) -> None:
        """None: a row is a token, and what follows it is no class of it."""
        return None

    def loss(self, output: Any, batch: Batch) -> Tensor:
        """Cross entropy in nats, summed over the batch's target tokens, over their number.

        ``output`` are logits of shape (n, t, vocabulary). ``END`` counts as a token, padding does not. A
        batch of few long sentences thus weighs as much as one of many short ones.
        """
        return F.cross_entropy(
            main_output(output).flatten(0, 1),
            batch.targets.flatten(),
            ignore_index=PAD,
            label_smoothing=self._label_smoothing,
        )

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        """Quality of ``model``: ``test`` is translated by a beam of 5, the other splits greedily.

        Keys: ``bleu`` and ``chrf`` in [0, 100], of plain text; ``perplexity``, at least 1 (lower is
        better): the exponential of the negative log-likelihood per target token, ``END`` included, all
        tokens of the split counting alike and labels not smoothed.

        The model is evaluated in eval mode; every module's training flag is as before afterwards.
        """
        return self._translated(model, split)[0]

    def measure(self, model: nn.Module, split: str) -> Measured:
        """See :class:`trainables.tasks.base.LoadedTask`: what BLEU counts in the same translations."""
        qualities, translations = self._translated(model, split)
        table = EVIDENCE["bleu"].table(translations, self.references(split))
        return Measured(qualities, None if table is None else Answers(table=table))

    def _translated(self, model: nn.Module, split: str) -> tuple[dict[str, float], list[str]]:
        """What :meth:`evaluate` says, and the translations."""
        with evaluating(model), torch.inference_mode():
            nats = self._nats_per_token(model, split)
            translations = self.translations(model, split)
        references = self.references(split)
        qualities = {
            "bleu": bleu(translations, references),
            "chrf": chrf(translations, references),
            "perplexity": math.exp(nats) if nats < math.log(1e300) else math.inf,
        }
        return qualities, translations

    def translations(self, model: nn.Module, split: str) -> list[str]:
        """What ``model``, in eval mode, makes of each source of ``split``; see :meth:`evaluate`."""
        sources = self._of(split).source
        search: Search = functools.partial(beam_search, beam=BEAM) if split == "test" else greedy
        tokens = EVALUATION_TOKENS // BEAM if split == "test" else EVALUATION_TOKENS
        found = translate(model, sources.rows(), self.device, search, tokens)  # type: ignore[arg-type]
        return [self.vocabulary.decode(translation.tokens) for translation in found]

    def references(self, split: str) -> list[str]:
        """The targets of ``split`` as they were given, plain text."""
        self._of(split)
        return self._references[split].split("\n")

    def _of(self, split: str) -> _Sides:
        if split not in SPLITS:
            raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split=}")
        if split not in self._sides:
            raise ValueError(
                f"there is no {split} split here: a teacher made its targets, and they stayed where students "
                f"were trained; choose one of {', '.join(self._sides)}"
            )
        return self._sides[split]

    @functools.cached_property
    def _sizes(self) -> list[int]:
        """Pairs of each training batch."""
        return _cut(self._of("train").longer.sort().values.tolist(), self._batch_tokens)

    def _nats_per_token(self, model: nn.Module, split: str) -> float:
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        count = 0
        longer = self._of(split).longer
        lengths, order = longer.sort(stable=True)
        for index in order.split(_cut(lengths.tolist(), EVALUATION_TOKENS)):
            batch = self._batch(split, index, None)
            logits = model(batch.inputs).flatten(0, 1).float()
            total += F.cross_entropy(
                logits, batch.targets.flatten(), ignore_index=PAD, reduction="sum"
            ).double()
            count += int((batch.targets != PAD).sum())
        return float(total) / count

    def _batch(self, split: str, index: Tensor, view: int | None) -> Batch:
        sources, targets = self._of(split)
        source, following = sources.padded(index), targets.padded(index)
        begin = torch.full((len(index), 1), BEGIN, device=self.device)
        # What precedes each token: the row moved right by one; its END has nothing to follow it.
        shown = torch.cat([begin, following[:, :-1].masked_fill(following[:, :-1] == END, PAD)], 1)
        inputs = Sentences(source, sources.lengths[index].to(self.device), shown)
        counted = _counted(targets.lengths[index], following.shape[1])
        return Batch(
            inputs,
            following,
            index.to(self.device),
            None if view is None else 0,
            None if counted is None else counted.to(self.device),
        )

    def _consecutive(self, split: str) -> list[Tensor]:
        """Indices of ``split`` in order, in parts of at most ``EVALUATION_TOKENS`` per side."""
        longer = self._of(split).longer
        return list(torch.arange(len(longer)).split(_cut(longer.tolist(), EVALUATION_TOKENS)))


class _Rows:
    """Sentences of many lengths, one after the other: ``tokens`` on the device, ``lengths`` on the CPU."""

    def __init__(self, arrays: Arrays, split: str, side: str, size: int, device: torch.device) -> None:
        tokens, lengths = arrays[f"{split}_{side}"], arrays[f"{split}_{side}_lengths"]
        if tokens.dtype != np.int32 or lengths.dtype != np.int64 or not len(lengths) or lengths.min() < 1:
            raise ValueError(
                f"{split}_{side} must be int32 and its lengths int64, at least 1, of at least one sentence, "
                f"got {tokens.dtype} and {lengths.dtype} of {lengths.shape}"
            )
        ends = lengths.cumsum()
        if (
            len(tokens) != ends[-1]
            or tokens.min() < 0
            or tokens.max() >= size
            or (tokens[ends - 1] != END).any()
        ):
            raise ValueError(
                f"{split}_{side} must hold {ends[-1]} tokens below {size}, each sentence ended by {END}, "
                f"got {len(tokens)} in [{tokens.min()}, {tokens.max()}]"
            )
        self.tokens = shared_tensor(tokens).to(device)
        self.lengths = shared_tensor(lengths)
        self._starts = shared_tensor(ends - lengths)
        # Once more on the device, where places() would otherwise have to wait for it.
        self._starts_there, self._lengths_there = self._starts.to(device), self.lengths.to(device)

    def padded(self, index: Tensor) -> Tensor:
        """int64 of shape (n, longest): the sentences ``index`` (on the CPU), filled up with ``PAD``."""
        device = self.tokens.device
        lengths, starts = self.lengths[index], self._starts[index]
        place = torch.arange(int(lengths.max()), device=device)
        inside = place < lengths.to(device)[:, None]
        where = (starts.to(device)[:, None] + place).clamp_(max=len(self.tokens) - 1)
        return self.tokens[where].long().masked_fill_(~inside, PAD)

    def places(self, index: Tensor, count: int) -> Tensor:
        """int64, shape (count,): where the ``count`` tokens of the sentences ``index`` stand, one by one."""
        starts, lengths = self._starts_there[index], self._lengths_there[index]
        before = starts - (lengths.cumsum(0) - lengths)
        first = torch.arange(count, device=index.device)
        return first + before.repeat_interleave(lengths, output_size=count)

    def rows(self) -> list[list[int]]:
        """The sentences as lists."""
        return [part.tolist() for part in self.tokens.cpu().split(self.lengths.tolist())]


class _Sides(NamedTuple):
    """Both sides of a split's pairs."""

    source: _Rows
    target: _Rows

    @property
    def longer(self) -> Tensor:
        """Per pair the tokens of its longer side, int64 on the CPU."""
        return torch.maximum(self.source.lengths, self.target.lengths)


def _cut(lengths: Sequence[int], most: int) -> list[int]:
    """Sizes of consecutive parts of which each has size * longest <= ``most``, or holds one sentence."""
    sizes = [0]
    longest = 0
    for length in lengths:
        longest = max(longest, length)
        if sizes[-1] and (sizes[-1] + 1) * longest > most:
            sizes.append(0)
            longest = length
        sizes[-1] += 1
    return sizes


def _counted(lengths: Tensor, longest: int) -> Tensor | None:
    """Numbers of the positions that hold tokens, of rows of ``longest`` each; None if all do."""
    inside = torch.arange(longest) < lengths[:, None]
    return None if bool(inside.all()) else inside.flatten().nonzero().squeeze(1)


def _check_counts(split: str, sides: _Sides, references: Sequence[str]) -> None:
    counts = (*(len(rows.lengths) for rows in sides), len(references))
    if len(set(counts)) > 1:
        raise ValueError(f"{split} must have as many sources as targets and references, got {counts}")
