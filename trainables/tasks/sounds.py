"""Classification of recordings: what the tasks of sound share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainables.arrays import shared_tensor
from trainables.batch import Batch
from trainables.calling import main_output
from trainables.data.kept import sha256_of
from trainables.data.order import permutation, step_sizes
from trainables.data.placed import Placed
from trainables.interfaces import Classifier
from trainables.memory import Memory, Whole
from trainables.ranges import Range
from trainables.samples import Samples, sound
from trainables.tasks.augmentation import mix
from trainables.tasks.base import SPLITS, Arrays, LoadedTask, Task
from trainables.tasks.log_mel import LogMel, log_mel
from trainables.tasks.scoring import check_class_quality, scored
from trainables.tasks.sound_augmentation import Spoiling, masked, spoiled

EVALUATION_BATCH_SIZE = 500
SHARED_SEED = 2**31
"""Seeds the shared views; one beyond the seeds of runs, so that no run's own view is a shared one."""
VIEWS_VERSION = 1
"""To be raised whenever a shared view of the same data changes; outputs kept for it are then recomputed."""


class SoundTask(Task):
    """A task of classifying recordings of one length; members declare these as fields.

    Attributes:
        sample_rate: samples per second, in [4000, 48000]; recordings of another rate are resampled.
        seconds: of every recording, in [0.1, 10].
        window_ms: of a frame, in [5, 100].
        hop_ms: from one frame to the next, in [5, 50].
        mels: bands, in [8, 128], from 20 Hz to the half of the sample rate, at most 7,600 Hz.
        mean: of the logarithms of the bands' energies, which is subtracted.
        std: their standard deviation, above 0, by which they are divided then.
        batch_size: recordings per training step, in [2, 65536].
        shift_ms: by which training moves a recording at most, in [0, 1000].
        noise: loudest noise that training adds, as a share of the full scale, in [0, 1].
        time_mask_ms: that training hides at most, in [0, 1000].
        band_mask: bands that training hides at most, in [0, 64].
        quality: by what students are judged, see :data:`trainables.metrics.samples.OF_CLASSES`.
    """

    sample_rate: Annotated[int, Range(4000, 48_000)]
    seconds: Annotated[float, Range(0.1, 10)]
    window_ms: Annotated[float, Range(5, 100)]
    hop_ms: Annotated[float, Range(5, 50)]
    mels: Annotated[int, Range(8, 128)]
    mean: float
    std: Annotated[float, Range(0, 1000, excluded="low")]
    batch_size: Annotated[int, Range(2, 65_536)]
    shift_ms: Annotated[float, Range(0, 1000)]
    noise: Annotated[float, Range(0, 1)]
    time_mask_ms: Annotated[float, Range(0, 1000)]
    band_mask: Annotated[int, Range(0, 64)]
    quality: str

    def __post_init__(self) -> None:
        super().__post_init__()
        check_class_quality(self.quality)
        if self.features.frames(self.samples) < 4:
            raise ValueError(f"seconds must be at least four frames, got seconds={self.seconds}")

    @property
    def samples(self) -> int:
        """Of a recording."""
        return round(self.seconds * self.sample_rate)

    @property
    def features(self) -> LogMel:
        """How recordings become inputs."""
        window, hop = (round(ms * self.sample_rate / 1000) for ms in (self.window_ms, self.hop_ms))
        high = min(self.sample_rate / 2, 7600.0)
        return LogMel(self.sample_rate, window, hop, self.mels, 20.0, high, self.mean, self.std)

    @property
    def spoiling(self) -> Spoiling:
        """What training does to recordings."""
        frames = round(self.time_mask_ms / self.hop_ms)
        shift = round(self.shift_ms * self.sample_rate / 1000)
        return Spoiling(shift, self.noise, frames, min(self.band_mask, self.mels // 2))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(1, mels, frames)."""
        return (1, self.mels, self.features.frames(self.samples))

    @property
    def metric(self) -> str:
        """The :attr:`quality`."""
        return self.quality

    @property
    def interface(self) -> Classifier:
        """The features of one recording in, logits out."""
        return Classifier(self.input_shape)

    @property
    def preprocessing(self) -> dict[str, Any]:
        """How features are computed."""
        return {"samples": self.samples, **self.features.described()}

    @property
    def memory(self) -> Whole:
        """All logits of each recording."""
        return Whole()

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the classes are called, by number; empty (default) where they have no names."""
        return ()

    def shown_samples(self, arrays: Arrays, split: str, index: np.ndarray) -> Samples | None:
        """The recordings."""
        sounds = arrays[f"{split}_sounds"]
        found = {int(number): sound(np.asarray(sounds[number]), self.sample_rate) for number in index}
        return Samples("sound", self.class_names, {split: found})

    def companions(self, assets: Mapping[str, Tensor]) -> dict[str, bytes]:
        """A classifier needs nothing else."""
        return {}

    def signatures(self) -> dict[str, str]:
        """None: a share of recordings says it all."""
        return {}

    def open(self, arrays: Arrays, device: torch.device, seed: int) -> LoadedTask:
        """See :class:`LoadedSounds`."""
        return LoadedSounds(self, arrays, device, seed)


class LoadedSounds:
    """Recordings and labels of all splits.

    Args:
        task: says how they become inputs.
        arrays: per split ``<split>_sounds``, int16 of shape (n, samples), and ``<split>_labels``, int64 of
            shape (n,); and ``noise``, int16 of shape (m,), at least as long as a recording.
        device: where batches appear.
        seed: drives shuffling and augmentation.
    """

    memory: Memory = Whole()
    views: int | None = None

    def __init__(self, task: SoundTask, arrays: Arrays, device: torch.device, seed: int) -> None:
        self.device = torch.device(device)
        self._task, self._arrays, self._seed = task, arrays, seed
        for split in SPLITS:
            sounds, labels = arrays[f"{split}_sounds"], arrays[f"{split}_labels"]
            if sounds.dtype != np.int16 or sounds.shape != (len(labels), task.samples) or not len(labels):
                raise ValueError(
                    f"{split}_sounds must be int16 of shape ({len(labels)}, {task.samples}), at least one, "
                    f"got {sounds.dtype} of {sounds.shape}"
                )
        self._labels = {split: shared_tensor(arrays[f"{split}_labels"]).to(self.device) for split in SPLITS}
        self._sounds = Placed(arrays, [f"{split}_sounds" for split in SPLITS], self.device)
        self._noise = shared_tensor(arrays["noise"]).to(self.device).float() / 32768

    def batches(self, split: str, epoch: int, view: int | None = None) -> Iterator[Batch]:
        """One pass over ``split``; see :class:`trainables.tasks.base.LoadedTask`."""
        if _checked(split) != "train":
            yield from self.in_order(split)
            return
        key = (self._seed, epoch) if view is None else (SHARED_SEED, view)
        order = permutation(self.samples("train"), mix(self._seed, epoch))
        for chosen in order.split(step_sizes(len(order), self._task.batch_size)):
            yield self._batch("train", self._sounds.rows("train_sounds", chosen), chosen, view, key)

    def in_order(self, split: str, view: int | None = None) -> Iterator[Batch]:
        """Every sample of ``split`` by ascending index; see :class:`trainables.tasks.base.LoadedTask`."""
        key = None if view is None else (SHARED_SEED, view)
        for index in torch.arange(self.samples(split)).split(EVALUATION_BATCH_SIZE):
            sounds = self._sounds.part(f"{split}_sounds", int(index[0]), int(index[-1]) + 1)
            yield self._batch(split, sounds, index, view, key)

    def chosen(self, split: str, index: Tensor) -> Iterator[Batch]:
        """See :class:`trainables.tasks.base.LoadedTask`."""
        for part in index.split(EVALUATION_BATCH_SIZE):
            sounds = self._sounds.rows(f"{_checked(split)}_sounds", part)
            yield self._batch(split, sounds, part, None, None)

    def fingerprint(self) -> str:
        """16 hex digits of a hash of the training recordings and of what happens to them in a view."""
        task = self._task
        values = [sha256_of(self._arrays, name) for name in ("train_sounds", "noise")]
        facts = (VIEWS_VERSION, task.features, task.spoiling, task.samples, *values)
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]

    def steps(self, split: str) -> int:
        """How many batches :meth:`batches` yields."""
        count = self.samples(split)
        if split != "train":
            return -(-count // EVALUATION_BATCH_SIZE)
        return len(step_sizes(count, self._task.batch_size))

    def samples(self, split: str) -> int:
        """How many recordings ``split`` has.

        Raises:
            ValueError: unknown split.
        """
        return len(self._labels[_checked(split)])

    def rows(self, split: str) -> int:
        """One per recording."""
        return self.samples(split)

    def row_numbers(self, batch: Batch) -> Tensor:
        """The recordings' own numbers."""
        return batch.index

    def labels(self, split: str) -> Tensor:
        """The recordings' classes."""
        return self._labels[_checked(split)]

    def loss(self, output: Any, batch: Batch) -> Tensor:
        """Cross entropy in nats, averaged over the batch; ``output`` are logits of shape (n, classes)."""
        return F.cross_entropy(main_output(output), batch.targets)

    def assets(self) -> dict[str, Tensor]:
        """A classifier needs nothing but its weights."""
        return {}

    def evaluate(self, model: nn.Module, split: str) -> dict[str, float]:
        """The quality on the recordings as they are, such as ``{"accuracy": fraction in [0, 1]}``."""
        return scored(model, self.in_order(split), self._task.quality)

    def _batch(
        self, split: str, stored: Tensor, index: Tensor, view: int | None, key: tuple[int, int] | None
    ) -> Batch:
        """Inputs and targets of recordings, spoiled as ``key`` says; None leaves them as they are."""
        there = index.to(self.device)
        sounds = stored.float() / 32768
        if key is not None:
            sounds = spoiled(sounds, self._noise, self._task.spoiling, key, there)
        features = log_mel(sounds, self._task.features)
        if key is not None:
            features = masked(features, self._task.spoiling, key, there)
        return Batch(features, self._labels[split][there], there, view)


def white_noise(samples: int) -> np.ndarray:
    """Noise where a data set brings none: int16, a third of the full scale, the same every time."""
    drawn = np.random.RandomState(0).standard_normal(samples)
    return np.clip(drawn * 32767 / 3, -32768, 32767).astype(np.int16)


def _checked(split: str) -> str:
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split=}")
    return split
