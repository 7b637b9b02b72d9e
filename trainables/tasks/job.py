"""A user's own task: data, loss, quality and augmentation as a file of theirs says them."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.batch import Batch
from trainables.calling import Inputs, call, main_output, mapped
from trainables.data.augmented import Augment, Augmented
from trainables.data.decode import Items
from trainables.data.order import item_key, permutation, step_sizes
from trainables.data.stream import Stream, epoch_order, in_order, workers_for
from trainables.data.telling import Tell
from trainables.foreign import shown
from trainables.interfaces.tensors import Tensors
from trainables.memory import Memory, Outputs, Whole
from trainables.metrics import quality_of
from trainables.metrics.samples import OF_CLASSES, OF_NUMBERS
from trainables.modes import evaluating
from trainables.own_code import module_of
from trainables.ranges import Range
from trainables.samples import Samples, picture
from trainables.signature import Signature
from trainables.tasks.augmentation import mix
from trainables.tasks.base import SPLITS, Arrays, DataError, Measured, Task
from trainables.tasks.job_file import dataset_of, imitated, read_all, said_by
from trainables.tasks.loaded_classes import SHARED_SEED
from trainables.tasks.scoring import answers_of, classes_of, outputs_of

KNOWN = {**OF_CLASSES, **OF_NUMBERS}
"""Qualities that a file may name in place of a function."""

SMALLEST_PICTURE = 4
"""Pixels a side of an input that is shown as a picture."""

EVALUATION_BATCHES = 4
"""Times the training batch: what is evaluated at once, since it needs no gradients."""

Criterion = Callable[[Any, Tensor], Tensor]
Measure = Callable[[nn.Module, Iterator[tuple[Inputs, Tensor]]], float]
Imitate = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Job(Task):
    """What a user's file defines, made by :mod:`studies.job`.

    The file's ``data(split)`` returns a dataset of (input, target); it may define ``augment(inputs,
    generator)``, ``loss(output, target)``, ``quality(network, batches)`` and ``imitate(student, teacher)``.

    Attributes:
        file: name of the file without ``.py``.
        code: 16 hex digits of the code, see :attr:`trainables.own_code.OwnCode.digest`.
        data: 16 hex digits of all samples of all splits.
        inputs: what one sample's input looks like.
        output: shape of what the network answers to one sample.
        classes: whether that are logits of classes, along the first axis, and targets their numbers.
        quality: name or spelling of the quality, see :func:`trainables.metrics.quality_of`.
        batch_size: samples per training step, in [1, 65536].
        imitates: whether the file says how a teacher's answers are imitated.
    """

    file: str
    code: str
    data: str
    inputs: tuple[Signature, ...]
    output: tuple[int, ...]
    classes: bool
    quality: str
    batch_size: Annotated[int, Range(1, 65_536)] = 128
    imitates: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("code", "data"):
            if not re.fullmatch("[0-9a-f]{16}", getattr(self, name)):
                raise ValueError(f"{name} must be 16 hex digits, got {name}={getattr(self, name)!r}")
        if not self.file.isidentifier() or len(self.file) > 100:
            raise ValueError(f"file must be a name as Python has it, got file={self.file!r}")
        if not self.inputs or (self.classes and not self.output):
            raise ValueError(f"there must be inputs and outputs, got {self.inputs} and {self.output}")
        quality_of(self.quality)

    @property
    def metric(self) -> str:
        """As the file says; the share of samples whose class is found where it says nothing."""
        return self.quality

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of the first tensor of an input."""
        return self.inputs[0].shape

    @property
    def outputs(self) -> int:
        """Numbers that a sample's answer has."""
        return int(torch.Size(self.output).numel())

    @property
    def interface(self) -> Tensors:
        """The tensors of one sample in, one out."""
        return Tensors(self.inputs, self.output, self.classes)

    @property
    def memory(self) -> Memory:
        """Logits in half precision; other outputs in single precision."""
        if self.imitates:
            return Outputs(partial(imitated, self.file))
        return Whole() if self.classes and len(self.output) == 1 else Outputs(F.mse_loss)

    def shown_samples(self, arrays: Arrays, split: str, index: np.ndarray) -> Samples | None:
        """Inputs of one tensor of one channel or three, as pictures from its lowest to its highest number."""
        if len(self.inputs) > 1 or not self.classes or f"{split}/target" not in arrays:
            return None
        shape = self.inputs[0].shape
        if len(shape) != 3 or shape[0] not in (1, 3) or min(shape[1:]) < SMALLEST_PICTURE:
            return None
        items, found = Items(arrays, split), {}
        for number in index.tolist():
            pixels = items.leaves(torch.tensor([number]))[0][0].float()
            low, high = pixels.amin(), pixels.amax()
            scaled = (pixels - low) / (high - low).clamp(min=1e-12) * 255
            found[number] = picture(scaled.round().to(torch.uint8).numpy())
        return Samples("image", (), {split: found})

    def companions(self, assets: Mapping[str, Tensor]) -> dict[str, bytes]:
        """None."""
        return {}

    def signatures(self) -> dict[str, str]:
        """The quality is computed by the user's code, so its number means nothing without."""
        return {} if self.quality == "accuracy" else {quality_of(self.quality).name: self.code}

    def load(self, directory: Path | None, *, download: bool = False) -> Arrays:
        """All samples of all splits, in memory.

        Raises:
            DataError: a dataset fails, it is not the data that the task was made of, or there is a directory.
        """
        return self._read(directory, None, lambda text: None)

    def load_kept(self, directory: Path | None, store: Path, tell: Tell, *, download: bool = False) -> Arrays:
        """The same, kept in the store where there is much of it."""
        return self._read(directory, store, tell)

    def check_directory(self, directory: Path | None) -> None:
        """Refuse a directory of data: the file says where its data are.

        Raises:
            DataError: one was given.
        """
        if directory is not None:
            raise DataError(
                f"data(split) of {self.file}.py says where its data are; leave out --data (got {directory})"
            )

    def _read(self, directory: Path | None, store: Path | None, tell: Tell) -> Arrays:
        self.check_directory(directory)
        read, digest = read_all(self.file, store, tell)
        if digest != self.data:
            raise DataError(
                f"data(split) of {self.file}.py gives other samples than those that this was made of "
                f"(digest {digest}, not {self.data})"
            )
        return read.arrays

    def open(self, arrays: Arrays, device: torch.device, seed: int) -> LoadedJob:
        """See :class:`LoadedJob`."""
        return LoadedJob(self, arrays, device, seed)


class LoadedJob:
    """A user's task with its data; batches are cut out of arrays.

    Args:
        task: says what the data look like.
        arrays: of :func:`read_all`.
        device: where batches appear.
        seed: drives the order, and the generator that augmentation gets.
    """

    def __init__(self, task: Job, arrays: Arrays, device: torch.device, seed: int) -> None:
        self.device = torch.device(device)
        self.memory = task.memory
        self._task, self._seed = task, seed
        self._items = {split: Items(arrays, split) for split in SPLITS if f"{split}/target" in arrays}
        # What draws random numbers itself has no arrays: it is read anew in every epoch.
        streamed = "train" not in self._items
        self._stream = (
            Stream(dataset_of(task.file, "train"), "train", workers=workers_for(torch.get_num_threads()))
            if streamed
            else None
        )
        module = module_of(task.file)
        augment: Augment | None = getattr(module, "augment", None)
        self._augment = None if augment is None else partial(self._own, "augment", augment)
        self._augmented = (
            None if self._augment is None or streamed else Augmented(self._items["train"], self._augment)
        )
        self._loss: Criterion | None = getattr(module, "loss", None)
        quality = getattr(module, "quality", None)
        self._quality: Measure | None = None if isinstance(quality, str) else quality
        self.views: int | None = 1 if self._augment is None and not streamed else None

    def batches(self, split: str, epoch: int, view: int | None = None) -> Iterator[Batch]:
        """One pass over ``split``; see :class:`trainables.tasks.base.LoadedTask`.

        Raises:
            ValueError: a shared view is asked for, and the training split is streamed.
        """
        if split != "train":
            yield from self.in_order(split)
            return
        count, order = self.samples("train"), mix(self._seed, epoch)
        sizes = step_sizes(count, self._task.batch_size)
        if self._augmented is not None:
            for samples in self._augmented.mixed(self._view(epoch, view), order, sizes):
                yield self._placed(*samples, view)
        elif self._stream is None:
            for index in permutation(count, order).split(sizes):
                yield self._batch("train", index, view)
        elif view is not None:
            raise ValueError("training inputs are read anew in every epoch: no view of them comes twice")
        else:
            yield from self._streamed(epoch, order)

    def check_augmented(self, check: Callable[[int, Inputs], None]) -> None:
        """Give ``check`` the number of a few samples, and what the file's augmentation makes of them."""
        batch = next(self.in_order("train"))
        if self._augment is not None:
            generator = torch.Generator().manual_seed(0)
            check(len(batch.index), self._augment(batch.inputs, generator))

    def _streamed(self, epoch: int, order: int) -> Iterator[Batch]:
        """The training split as the dataset gives it now, then augmented a batch at a time."""
        assert self._stream is not None
        steps = epoch_order(self.samples("train"), self._task.batch_size, order)
        read = self._stream.batches(steps, (self._seed, epoch))
        for number, (inputs, targets, index) in enumerate(read):
            if self._augment is not None:
                generator = torch.Generator().manual_seed(item_key(self._seed, epoch, number))
                inputs = self._augment(inputs, generator)
            yield self._placed(inputs, targets, index, None)

    def _view(self, epoch: int, view: int | None) -> tuple[int, int]:
        """Names a view: one that all runs share, or this run's own of an epoch."""
        return (self._seed, epoch) if view is None else (SHARED_SEED, view)

    def in_order(self, split: str, view: int | None = None) -> Iterator[Batch]:
        """Every sample of ``split``; see :class:`trainables.tasks.base.LoadedTask`."""
        size = EVALUATION_BATCHES * self._task.batch_size
        if split == "train" and view is not None and self._augmented is not None:
            for samples in self._augmented.in_blocks(self._view(0, view)):
                yield self._placed(*samples, view)
        elif split in self._items:
            for index in torch.arange(self.samples(split)).split(size):
                yield self._batch(split, index, view)
        else:
            assert self._stream is not None  # only the training split is streamed
            for inputs, targets, index in self._stream.batches(in_order(self.samples(split), size), (0, 0)):
                yield self._placed(inputs, targets, index, view)

    def chosen(self, split: str, index: Tensor) -> Iterator[Batch]:
        """See :class:`trainables.tasks.base.LoadedTask`."""
        parts = index.split(EVALUATION_BATCHES * self._task.batch_size)
        if split in self._items:
            yield from (self._batch(split, part, None) for part in parts)
        else:
            assert self._stream is not None  # only the training split is streamed
            for inputs, targets, part in self._stream.batches(parts, (0, 0)):
                yield self._placed(inputs, targets, part, None)

    def fingerprint(self) -> str:
        """The digest of the data, and of the code where it augments them."""
        if self._augment is None:
            return self._task.data
        return hashlib.sha256(f"{self._task.data} {self._task.code}".encode()).hexdigest()[:16]

    def steps(self, split: str) -> int:
        """How many batches :meth:`batches` yields."""
        count = self.samples(split)
        if split != "train":
            return -(-count // (EVALUATION_BATCHES * self._task.batch_size))
        return len(step_sizes(count, self._task.batch_size))

    def samples(self, split: str) -> int:
        """How many ``split`` has."""
        return len(self._items[split]) if split in self._items else len(self._stream or ())

    def rows(self, split: str) -> int:
        """One per sample."""
        return self.samples(split)

    def row_numbers(self, batch: Batch) -> Tensor:
        """The samples' own numbers."""
        return batch.index

    def labels(self, split: str) -> Tensor | None:
        """The targets, where each is one class; None of other targets, and of samples that are streamed."""
        if split not in self._items or not isinstance(self.memory, Whole):
            return None
        targets = self._items[split].whole("target")
        return targets.to(self.device) if targets.dim() == 1 and not targets.is_floating_point() else None

    def loss(self, output: Any, batch: Batch) -> Tensor:
        """The file's ``loss(output, target)``.

        By default cross entropy in nats where outputs are classes, else the mean squared error.
        """
        if self._loss is not None:
            found: Tensor = self._own("loss", self._loss, output, batch.targets)
            return found
        answer = main_output(output)
        return (
            F.cross_entropy(answer, batch.targets)
            if self._task.classes
            else F.mse_loss(answer, batch.targets.to(answer.dtype))
        )

    def assets(self) -> dict[str, Tensor]:
        """None."""
        return {}

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        """The file's ``quality(network, batches)`` by its name.

        By default the share of samples whose class is found, or the loss where there are no classes; the file
        may also name a quality, such as ``quality = "macro_f1"``.
        """
        name = quality_of(self._task.quality).name
        if self._named:
            return {name: KNOWN[name](*outputs_of(model, self.in_order(split)))}
        with evaluating(model), torch.inference_mode():
            batches = ((batch.inputs, batch.targets) for batch in self.in_order(split))
            if self._quality is not None:
                return {name: _number(self._own("quality", self._quality, model, batches))}
            total = torch.zeros((), dtype=torch.float64, device=self.device)
            for batch in self.in_order(split):
                answer = call(model, batch.inputs)
                if self._task.classes:
                    right = (answer.argmax(1) == batch.targets).double()
                    total += right.flatten(1).mean(1).sum() if right.dim() > 1 else right.sum()
                else:
                    total += self.loss(answer, batch).double() * len(batch.index)
        return {name: float(total) / self.samples(split)}

    def measure(self, model: nn.Module, split: str) -> Measured:
        """See :class:`trainables.tasks.base.LoadedTask`; of a quality of the file's own classes, if any."""
        name = quality_of(self._task.quality).name
        if not self._named:
            return Measured(self.evaluate(model, split), classes_of(model, self.in_order(split)))
        outputs, targets = outputs_of(model, self.in_order(split))
        answers = answers_of(outputs, targets, name, classes=self._task.classes)
        return Measured({name: KNOWN[name](outputs, targets)}, answers)

    @property
    def _named(self) -> bool:
        """Whether the file names a quality that is computed of all answers."""
        name = quality_of(self._task.quality).name
        return self._quality is None and name in KNOWN and name != "accuracy"

    def _batch(self, split: str, index: Tensor, view: int | None) -> Batch:
        return self._placed(*self._items[split].batch(index), index, view)

    def _placed(self, inputs: Inputs, targets: Tensor, index: Tensor, view: int | None) -> Batch:
        flat = isinstance(self.memory, Whole)
        inputs = mapped(lambda tensor: tensor.to(self.device), inputs)
        return Batch(inputs, targets.to(self.device), index.to(self.device), view, classes=flat)

    def _own(self, name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        return said_by(self._task.file, name, function, *arguments)


def _number(found: Any) -> float:
    """What ``quality`` returned, as a number.

    Raises:
        ValueError: it is none.
    """
    one = isinstance(found, Tensor | np.ndarray | np.generic) and math.prod(found.shape) == 1
    if not one and (isinstance(found, bool) or not isinstance(found, int | float)):
        raise ValueError(f"quality(network, batches) must return a number, got {shown(repr(found), 100)}")
    return float(found)
