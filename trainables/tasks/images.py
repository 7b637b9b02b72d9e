"""Image classification: what the image tasks share."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from trainables.data.kept import sha256_of
from trainables.data.placed import Placed
from trainables.interfaces import Classifier
from trainables.memory import Whole
from trainables.ranges import Range
from trainables.samples import Samples, picture
from trainables.tasks.augmentation import augment
from trainables.tasks.base import SPLITS, Arrays, LoadedTask, Task
from trainables.tasks.loaded_classes import Key, LoadedClasses, Serving

EVALUATION_BATCH_SIZE = 500
"""Images that are measured at a time, of up to 28x28 pixels; see :func:`evaluation_batch_size`."""

VIEWS_VERSION = 1
"""To be raised whenever a shared view of the same data changes; outputs kept for it are then recomputed."""


class Scaling(NamedTuple):
    """How pixels in [0, 1] become inputs: ``(x - mean) / std``, per channel.

    Attributes:
        mean: one number per channel.
        std: likewise, above 0.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]


class ImageTask(Task):
    """A task of classifying images; members declare these three as fields.

    Attributes:
        batch_size: images per training step, in [2, 65536]; batch normalisation needs two.
        padding: largest random shift in training, in pixels, in [0, 64].
        flip: whether training flips images from left to right at random.
    """

    batch_size: Annotated[int, Range(2, 65_536)]
    padding: Annotated[int, Range(0, 64)]
    flip: bool

    @property
    def scaling(self) -> Scaling | None:
        """How pixels are scaled; None: to [-1, 1]."""
        return None

    @property
    def preprocessing(self) -> dict[str, Any]:
        """Mean and standard deviation per channel, of pixels in [0, 1]."""
        half = (0.5,) * self.input_shape[0]
        mean, std = self.scaling or (half, half)
        return {"inputs": "(pixels / 255 - mean) / std", "mean": list(mean), "std": list(std)}

    @property
    def quality(self) -> str:
        """By what students are judged: the fraction of images whose largest logit is that of their class."""
        return "accuracy"

    @property
    def metric(self) -> str:
        """The :attr:`quality`."""
        return self.quality

    @property
    def interface(self) -> Classifier:
        """One image in, logits out."""
        return Classifier(self.input_shape)

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the classes are called, by number; empty (default) where their numbers say it all."""
        return ()

    def shown_samples(self, arrays: Arrays, split: str, index: np.ndarray) -> Samples | None:
        """The images."""
        images = arrays[f"{split}_images"]
        found = {int(number): picture(np.asarray(images[number])) for number in index}
        return Samples("image", self.class_names, {split: found})

    def companions(self, assets: Mapping[str, Tensor]) -> dict[str, bytes]:
        """A classifier needs nothing else."""
        return {}

    def signatures(self) -> dict[str, str]:
        """None: a share of images says it all."""
        return {}

    @property
    def memory(self) -> Whole:
        """All logits of each image."""
        return Whole()

    def open(self, arrays: Arrays, device: torch.device, seed: int) -> LoadedTask:
        """See :class:`LoadedImages`."""
        for split in SPLITS:
            shape = arrays[f"{split}_images"].shape[1:]
            if shape != self.input_shape:
                raise ValueError(f"{split}_images must hold images of shape {self.input_shape}, got {shape}")
        return LoadedImages(
            arrays,
            device,
            seed,
            batch_size=self.batch_size,
            padding=self.padding,
            flip=self.flip,
            scaling=self.scaling,
            quality=self.quality,
        )


class LoadedImages(LoadedClasses):
    """Images and labels of all splits, in memory or in mapped files; see :mod:`trainables.data.placed`.

    Inputs are float32, scaled as the task says, channels last in memory.

    Args:
        arrays: per split ``<split>_images``, uint8 of shape (n, channels, height, width), and
            ``<split>_labels``, int64 of shape (n,). They may be read-only and are never written to.
        device: where batches appear.
        seed: drives shuffling and augmentation.
        batch_size: images per training step, see :class:`trainables.tasks.loaded_classes.Serving`.
        padding: see :func:`trainables.tasks.augmentation.augment`.
        flip: likewise.
        scaling: how pixels become inputs; None (default): to [-1, 1].
        quality: what is measured; default the accuracy.
    """

    views: int | None = None

    def __init__(
        self,
        arrays: Arrays,
        device: torch.device,
        seed: int,
        *,
        batch_size: int,
        padding: int,
        flip: bool,
        scaling: Scaling | None = None,
        quality: str = "accuracy",
    ) -> None:
        for split in SPLITS:
            _check(split, arrays[f"{split}_images"], arrays[f"{split}_labels"])
        evaluated = evaluation_batch_size(*arrays["train_images"].shape[2:])
        super().__init__(arrays, device, seed, Serving(batch_size, evaluated, quality))
        self._padding = padding
        self._flip = flip
        self._scaling = scaling
        self._images = Placed(arrays, [f"{split}_images" for split in SPLITS], self.device)

    def fingerprint(self) -> str:
        """16 hex digits of a hash of the training images and of what happens to them in a view."""
        shape, values = self._arrays["train_images"].shape, sha256_of(self._arrays, "train_images")
        scaled = () if self._scaling is None else (self._scaling,)
        facts = (VIEWS_VERSION, self._padding, self._flip, shape, values, *scaled)
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]

    def _rows(self, split: str, index: Tensor) -> Tensor:
        return self._images.rows(f"{split}_images", index)

    def _part(self, split: str, start: int, stop: int) -> Tensor:
        return self._images.part(f"{split}_images", start, stop)

    def _inputs(self, stored: Tensor, index: Tensor, key: Key | None) -> Tensor:
        if key is not None:
            stored = augment(stored, *key, index, padding=self._padding, flip=self._flip)
        return normalise(stored, self._scaling)


def evaluation_batch_size(height: int, width: int) -> int:
    """Images that are measured at a time: of large ones as many as have 256,000 pixels, and at least 8."""
    pixels = height * width
    return EVALUATION_BATCH_SIZE if pixels <= 28**2 else max(8, 256_000 // pixels)


def normalise(images: Tensor, scaling: Scaling | None = None) -> Tensor:
    """uint8 images, shape (n, channels, height, width), as new float32, channels last.

    Args:
        images: as they are stored.
        scaling: as torchvision's ``Normalize`` has it; None (default): to [-1, 1].
    """
    values = images.contiguous(memory_format=torch.channels_last).to(torch.float32)
    if scaling is None:
        return values.div_(127.5).sub_(1.0)
    mean, std = (torch.tensor(each, device=values.device)[:, None, None] for each in scaling)
    return values.div_(255.0).sub_(mean).div_(std)


def _check(split: str, images: np.ndarray, labels: np.ndarray) -> None:
    if images.dtype != np.uint8 or images.ndim != 4:
        raise ValueError(
            f"{split}_images must be uint8 of 4 dimensions, got {images.dtype} of {images.shape}"
        )
    if labels.dtype != np.int64 or labels.shape != images.shape[:1] or not len(labels):
        raise ValueError(
            f"{split}_labels must be int64, one for each of {len(images)} images (at least 1), "
            f"got {labels.dtype} of {labels.shape}"
        )
