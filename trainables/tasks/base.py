"""The task contract: data, supervised loss and quality metric."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from trainables.batch import Batch
from trainables.data.errors import DataError as DataError  # what a task's load raises
from trainables.data.keeping import keep_large
from trainables.data.telling import Tell
from trainables.interfaces.base import Interface
from trainables.memory import Memory
from trainables.part import Part
from trainables.predictions import Answers
from trainables.samples import Samples

Arrays = Mapping[str, np.ndarray]
"""A task's data as named arrays: what travels through an object store."""

SPLITS = ("train", "validation", "test")


class Measured(NamedTuple):
    """What a network is on a split.

    Attributes:
        qualities: by name, see :meth:`LoadedTask.evaluate`.
        answers: what is kept of it sample by sample, and decides the quality that selects; None where nothing
            does.
    """

    qualities: dict[str, float]
    answers: Answers | None


class LoadedTask(Protocol):
    """A task with its data on a device.

    Attributes:
        device: where batches appear.
        memory: how a teacher's answers to the training split are kept.
        views: how many shared views differ; None where there is no end to them.
    """

    device: torch.device
    memory: Memory
    views: int | None

    def batches(self, split: str, epoch: int, view: int | None = None) -> Iterator[Batch]:
        """One pass over ``split``; "train" is shuffled as a function of (seed, epoch) and augmented.

        Augmentation is a function of (seed, epoch, index), or with ``view`` of (view, index) alone: such
        a shared view is the same in every run on the task. Other splits are neither shuffled nor augmented.
        """
        ...

    def in_order(self, split: str, view: int | None = None) -> Iterator[Batch]:
        """Every sample of ``split``: as it is, by ascending index, or in the shared view ``view``.

        A function of (split, view) alone, whatever the seed and the size of training's batches. In a view the
        order may be another, which the batches' ``index`` tells.
        """
        ...

    def chosen(self, split: str, index: Tensor) -> Iterator[Batch]:
        """The samples ``index`` (int64, shape (n,), on the CPU, ascending) of ``split``, as they are."""
        ...

    def fingerprint(self) -> str:
        """Names the training inputs in all shared views: where it is equal, they are equal."""
        ...

    def steps(self, split: str) -> int:
        """How many batches :meth:`batches` yields."""
        ...

    def samples(self, split: str) -> int:
        """How many samples ``split`` has."""
        ...

    def rows(self, split: str) -> int:
        """How many rows of outputs count in one pass over ``split``: one per sample, or per target token."""
        ...

    def row_numbers(self, batch: Batch) -> Tensor:
        """Where the rows of a training ``batch`` that count stand among all those of the training split.

        int64, shape (rows,), on the task's device, in the order of :meth:`Batch.rows`; all rows of the split
        are numbered in the order of :meth:`in_order`.
        """
        ...

    def labels(self, split: str) -> Tensor | None:
        """The class of each row, int64 on the task's device, in the order of :meth:`row_numbers`.

        None where rows have no class, or it is not known before they are read.
        """
        ...

    def loss(self, output: Any, batch: Batch) -> Tensor:
        """The supervised loss, averaged over the batch.

        Args:
            output: all that the network returned, which in training may be more than its answer; see
                :func:`trainables.calling.main_output`.
            batch: what it was given.
        """
        ...

    def assets(self) -> Mapping[str, Tensor]:
        """What a student is useless without beside its weights, such as a vocabulary, by name.

        It is stored in the packed file and counts there; any dtype, on the CPU. Empty for most tasks.
        """
        ...

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        """Quality of ``model`` (put in eval mode) on ``split``, by name.

        The names are those of :attr:`trainables.metrics.Quality.reported` of the task's metric.
        """
        ...

    def measure(self, model: nn.Module, split: str) -> Measured:
        """What :meth:`evaluate` says, and what of each sample it follows from."""
        ...


class Task(Part):
    """A data set as configuration. It says nothing of where the files lie on a machine."""

    @property
    @abstractmethod
    def metric(self) -> str:
        """The quality that selects students: a name in :data:`trainables.metrics.QUALITIES`, or what
        :func:`trainables.metrics.spelled` makes of one's own."""

    @property
    @abstractmethod
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input, known before any data is read."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Number of logits, known before any data is read."""

    @property
    @abstractmethod
    def memory(self) -> Memory:
        """How a teacher's answers to the training split are kept."""

    @property
    @abstractmethod
    def interface(self) -> Interface:
        """How the task's networks are used: what is exported, counted and timed of them."""

    @property
    def preprocessing(self) -> dict[str, Any]:
        """How what is stored becomes inputs, for who deploys a student; empty: the interface says it all."""
        return {}

    def shown_samples(self, arrays: Arrays, split: str, index: np.ndarray) -> Samples | None:
        """What people see or hear of samples, such as those that students get wrong.

        Args:
            arrays: the task's data.
            split: of the samples.
            index: int64, shape (n,); their numbers within it.

        Returns:
            The samples ``index`` of the split; None (default) where nothing can be shown.
        """
        return None

    @abstractmethod
    def companions(self, assets: Mapping[str, Tensor]) -> dict[str, bytes]:
        """Files that an exported network is of no use without, by the ends of their names.

        Args:
            assets: the task's, from the network's packed file.
        """

    @abstractmethod
    def signatures(self) -> dict[str, str]:
        """Metric -> how it is computed, for those whose number means nothing without; may be empty."""

    @abstractmethod
    def load(self, directory: Path | None, *, download: bool = False) -> Arrays:
        """Read all splits from ``directory`` (None for embedded data) into arrays.

        Raises:
            DataError: no such directory, nothing usable in it, or it is not the recipe's data.
        """

    def load_kept(self, directory: Path | None, store: Path, tell: Tell, *, download: bool = False) -> Arrays:
        """What :meth:`load` gives, in files of the store that all processes map, where there is much of it.

        Args:
            directory: see :meth:`load`.
            store: folder of the sweeps' files.
            tell: hears of what takes long, and of data that had to be made again.
            download: see :meth:`load`.

        Raises:
            DataError: see :meth:`load`.
        """
        return keep_large(store, self.load(directory, download=download), tell)

    @abstractmethod
    def open(self, arrays: Arrays, device: torch.device, seed: int) -> LoadedTask:
        """Put the arrays on ``device``; ``seed`` drives shuffling and augmentation, not the splits."""


class TaughtTask(Task):
    """A task on another task's data, part of whose training split a trained network makes.

    Where students are trained, the arrays hold what :meth:`taught` gave, beside the other task's. Without
    it, all but the training split can be used.
    """

    @property
    @abstractmethod
    def product(self) -> str:
        """What the network makes, in letters, digits and hyphens, such as ``beam5``."""

    @abstractmethod
    def taught(self, network: nn.Module, arrays: Arrays, device: torch.device) -> Arrays:
        """What the trained ``network`` makes: arrays to be added to those of the other task.

        Args:
            network: in eval mode; it is moved to ``device``.
            arrays: of the other task.
            device: where to compute.
        """
