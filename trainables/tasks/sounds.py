"""Classification of recordings: what the tasks of sound share."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from trainables.arrays import shared_tensor
from trainables.data.kept import sha256_of
from trainables.data.placed import Placed
from trainables.interfaces import Classifier
from trainables.memory import Whole
from trainables.ranges import Range
from trainables.samples import Samples, sound
from trainables.tasks.base import SPLITS, Arrays, LoadedTask, Task
from trainables.tasks.loaded_classes import Key, LoadedClasses, Serving
from trainables.tasks.log_mel import LogMel, log_mel
from trainables.tasks.scoring import check_class_quality
from trainables.tasks.sound_augmentation import Spoiling, masked, spoiled

EVALUATION_BATCH_SIZE = 500
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


class LoadedSounds(LoadedClasses):
    """Recordings and labels of all splits.

    Args:
        task: says how they become inputs.
        arrays: per split ``<split>_sounds``, int16 of shape (n, samples), and ``<split>_labels``, int64 of
            shape (n,); and ``noise``, int16 of shape (m,), at least as long as a recording.
        device: where batches appear.
        seed: drives shuffling and augmentation.
    """

    views: int | None = None

    def __init__(self, task: SoundTask, arrays: Arrays, device: torch.device, seed: int) -> None:
        for split in SPLITS:
            sounds, labels = arrays[f"{split}_sounds"], arrays[f"{split}_labels"]
            if sounds.dtype != np.int16 or sounds.shape != (len(labels), task.samples) or not len(labels):
                raise ValueError(
                    f"{split}_sounds must be int16 of shape ({len(labels)}, {task.samples}), at least one, "
                    f"got {sounds.dtype} of {sounds.shape}"
                )
        super().__init__(arrays, device, seed, Serving(task.batch_size, EVALUATION_BATCH_SIZE, task.quality))
        self._task = task
        self._sounds = Placed(arrays, [f"{split}_sounds" for split in SPLITS], self.device)
        self._noise = shared_tensor(arrays["noise"]).to(self.device).float() / 32768

    def fingerprint(self) -> str:
        """16 hex digits of a hash of the training recordings and of what happens to them in a view."""
        task = self._task
        values = [sha256_of(self._arrays, name) for name in ("train_sounds", "noise")]
        facts = (VIEWS_VERSION, task.features, task.spoiling, task.samples, *values)
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]

    def _rows(self, split: str, index: Tensor) -> Tensor:
        return self._sounds.rows(f"{split}_sounds", index)

    def _part(self, split: str, start: int, stop: int) -> Tensor:
        return self._sounds.part(f"{split}_sounds", start, stop)

    def _inputs(self, stored: Tensor, index: Tensor, key: Key | None) -> Tensor:
        """Features of recordings, which ``key`` spoils."""
        sounds = stored.float() / 32768
        if key is None:
            return log_mel(sounds, self._task.features)
        sounds = spoiled(sounds, self._noise, self._task.spoiling, key, index)
        return masked(log_mel(sounds, self._task.features), self._task.spoiling, key, index)


def white_noise(samples: int) -> np.ndarray:
    """Noise where a data set brings none: int16, a third of the full scale, the same every time."""
    drawn = np.random.RandomState(0).standard_normal(samples)
    return np.clip(drawn * 32767 / 3, -32768, 32767).astype(np.int16)
