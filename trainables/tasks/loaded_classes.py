"""Samples of one class each, of all splits: what loaded images, recordings and sentences share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.arrays import shared_tensor
from trainables.batch import Batch
from trainables.calling import main_output
from trainables.data.order import permutation, step_sizes
from trainables.memory import Memory, Whole
from trainables.tasks.augmentation import mix
from trainables.tasks.base import SPLITS, Arrays, Measured
from trainables.tasks.scoring import scored, scored_with_answers

SHARED_SEED = 2**31
"""Seeds the shared views; one beyond the seeds of runs, so that no run's own view is a shared one."""
UNKNOWN_LABEL = -1
"""Of a training sample without a label."""

Key = tuple[int, int]
"""Seed and number of a view: what happens to a sample in it is drawn of these and of the sample's number."""


class Serving(NamedTuple):
    """How samples are served.

    Attributes:
        batch_size: samples per training step; the last step of an epoch may see fewer, but never one alone,
            which batch normalisation cannot use: it joins the step before.
        evaluated: samples that are measured at a time.
        quality: what is measured, see :data:`trainables.metrics.samples.OF_CLASSES`.
    """

    batch_size: int
    evaluated: int
    quality: str


class LoadedClasses(ABC):
    """Samples of one class each; members say how they are stored and become inputs.

    Args:
        arrays: per split ``<split>_labels``, int64 of shape (n,), :data:`UNKNOWN_LABEL` where a sample has
            none, and what the member stores. They may be read-only and are never written to.
        device: where batches appear.
        seed: drives shuffling and augmentation.
        serving: how samples are served.
    """

    memory: Memory = Whole()
    asset_names: tuple[str, ...] = ()
    """Of the arrays that a student is useless without."""

    def __init__(self, arrays: Arrays, device: torch.device, seed: int, serving: Serving) -> None:
        self.device = torch.device(device)
        self._arrays, self._seed, self._serving = arrays, seed, serving
        self._labels = {split: shared_tensor(arrays[f"{split}_labels"]).to(self.device) for split in SPLITS}
        self._unknown = {split: bool((own == UNKNOWN_LABEL).any()) for split, own in self._labels.items()}

    @abstractmethod
    def _rows(self, split: str, index: Tensor) -> Tensor:
        """The samples of these numbers as they are stored, on the device; the numbers are on the CPU."""

    @abstractmethod
    def _part(self, split: str, start: int, stop: int) -> Tensor:
        """Likewise, the samples from ``start`` to the one before ``stop``."""

    @abstractmethod
    def _inputs(self, stored: Tensor, index: Tensor, key: Key | None) -> Tensor:
        """Inputs of stored samples of these numbers, changed as ``key`` says; None leaves them be."""

    @abstractmethod
    def fingerprint(self) -> str:
        """16 hex digits of a hash of the training samples and of what happens to them in a view."""

    def batches(self, split: str, epoch: int, view: int | None = None) -> Iterator[Batch]:
        """One pass over ``split``; see :class:`trainables.tasks.base.LoadedTask`.

        Raises:
            ValueError: unknown split.
        """
        if _checked(split) != "train":
            yield from self.in_order(split)
            return
        key = (self._seed, epoch) if view is None else (SHARED_SEED, view)
        order = permutation(self.samples(split), mix(self._seed, epoch))
        for chosen in order.split(step_sizes(len(order), self._serving.batch_size)):
            yield self._batch(split, self._rows(split, chosen), chosen, view, key)

    def in_order(self, split: str, view: int | None = None) -> Iterator[Batch]:
        """Every sample of ``split`` by ascending index; see :class:`trainables.tasks.base.LoadedTask`.

        Raises:
            ValueError: unknown split.
        """
        key = None if view is None else (SHARED_SEED, view)
        for index in torch.arange(self.samples(split)).split(self._serving.evaluated):
            stored = self._part(split, int(index[0]), int(index[-1]) + 1)
            yield self._batch(split, stored, index, view, key)

    def chosen(self, split: str, index: Tensor) -> Iterator[Batch]:
        """See :class:`trainables.tasks.base.LoadedTask`."""
        for part in index.split(self._serving.evaluated):
            yield self._batch(split, self._rows(_checked(split), part), part, None, None)

    def steps(self, split: str) -> int:
        """How many batches :meth:`batches` yields."""
        count = self.samples(split)
        if split != "train":
            return -(-count // self._serving.evaluated)
        return len(step_sizes(count, self._serving.batch_size))

    def samples(self, split: str) -> int:
        """How many samples ``split`` has.

        Raises:
            ValueError: unknown split.
        """
        return len(self._labels[_checked(split)])

    def rows(self, split: str) -> int:
        """One per sample."""
        return self.samples(split)

    def row_numbers(self, batch: Batch) -> Tensor:
        """The samples' own numbers."""
        return batch.index

    def labels(self, split: str) -> Tensor | None:
        """The samples' classes; None where some have none."""
        return None if self._unknown[_checked(split)] else self._labels[split]

    def loss(self, output: Any, batch: Batch) -> Tensor:
        """Cross entropy in nats, averaged over the samples that have a label; 0 where none has one.

        Args:
            output: logits, shape (n, classes), and what a network returns beside them.
            batch: what it was given.
        """
        answer = main_output(output)
        if self._unknown["train"] and not bool((batch.targets != UNKNOWN_LABEL).any()):
            return (answer * 0.0).sum()
        return F.cross_entropy(answer, batch.targets, ignore_index=UNKNOWN_LABEL)

    def assets(self) -> Mapping[str, Tensor]:
        """What the arrays hold of all splits together, such as a vocabulary; empty where classes are all."""
        return {name: torch.from_numpy(self._arrays[name].copy()) for name in self.asset_names}

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        """The quality, such as ``{"accuracy": fraction in [0, 1]}``, on the samples as they are.

        Those that have no label are left out. The model is evaluated in eval mode; every module's training
        flag is as before afterwards.
        """
        return scored(model, self._with_labels(split), self._serving.quality)

    def measure(self, model: nn.Module, split: str) -> Measured:
        """See :class:`trainables.tasks.base.LoadedTask`; nothing is kept of a split without all labels."""
        found = scored_with_answers(model, self._with_labels(split), self._serving.quality)
        return found._replace(answers=None) if self._unknown[split] else found

    def _with_labels(self, split: str) -> Iterator[Batch]:
        """The samples of ``split`` that have a label, in order."""
        if not self._unknown[_checked(split)]:
            return self.in_order(split)
        return self.chosen(split, (self._labels[split] != UNKNOWN_LABEL).nonzero().squeeze(1).cpu())

    def _batch(self, split: str, stored: Tensor, index: Tensor, view: int | None, key: Key | None) -> Batch:
        there = index.to(self.device)
        return Batch(self._inputs(stored, there, key), self._labels[split][there], there, view)


def _checked(split: str) -> str:
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split=}")
    return split
