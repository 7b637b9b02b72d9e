"""Published image sets, read and downloaded by torchvision."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trainables.foreign import shown
from trainables.tasks.base import Arrays, DataError
from trainables.tasks.folders import check_directory, say
from trainables.tasks.images import ImageTask
from trainables.tasks.splits import proportional, stratified
from trainables.torchvision_guard import import_torchvision

CLOTHES = (
    *("T-shirt", "trouser", "pullover", "dress", "coat"),
    *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
)
THINGS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
VALIDATION_SHARE = 0.1
"""Of the published training split; the published test split is the test split."""


@dataclass(frozen=True)
class FashionMNIST(ImageTask):
    """70,000 grey 28x28 images of ten kinds of clothes (Xiao et al. 2017).

    Attributes:
        batch_size: default 128.
        padding: default 2 pixels.
        flip: default True.
    """

    batch_size: int = 128
    padding: int = 2
    flip: bool = True

    @property
    def class_names(self) -> tuple[str, ...]:
        """The kinds."""
        return CLOTHES

    @property
    def input_shape(self) -> tuple[int, ...]:
        """One grey channel, 28x28."""
        return (1, 28, 28)

    @property
    def outputs(self) -> int:
        """Ten kinds."""
        return 10

    def load(self, directory: Path | None, *, download: bool = False) -> Arrays:
        """Read ``directory/FashionMNIST/raw/*-ubyte``.

        Raises:
            DataError: the four files are not there or not readable, or could not be downloaded.
        """
        folder = _existing(directory, "Fashion-MNIST", download) / "FashionMNIST" / "raw"
        datasets = import_torchvision().datasets
        names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
        files = [folder / f"{name}-ubyte" for name in names]
        if not all(file.is_file() for file in files):
            if not download:
                raise _missing("Fashion-MNIST", folder, "its four idx files")
            _download_fashion(datasets, folder)
        # Not datasets.FashionMNIST itself: it would rather unpickle a processed/*.pt it finds there.
        try:
            train_images, train_labels, test_images, test_labels = (
                _read_idx(datasets, file) for file in files
            )
        except Exception as error:  # torchvision asserts, indexes and views its way through a damaged file
            reason = shown(str(error)) or type(error).__name__
            raise DataError(
                f"the Fashion-MNIST files in {say(folder)} are damaged ({reason}); delete them and pass "
                "--download"
            ) from error
        for images, labels in ((train_images, train_labels), (test_images, test_labels)):
            if images.shape != (len(labels), *self.input_shape[1:]) or not _all_classes(labels, self.outputs):
                raise DataError(
                    f"the Fashion-MNIST files in {say(folder)} are not the published ones (images of shape "
                    f"{images.shape}, {len(labels)} labels up to {labels.max(initial=0)}); delete them "
                    "and pass --download"
                )
        return _split(train_images[:, None], train_labels, test_images[:, None], test_labels)


@dataclass(frozen=True)
class CIFAR10(ImageTask):
    """60,000 colour 32x32 images of ten classes (Krizhevsky 2009).

    Attributes:
        batch_size: default 128.
        padding: default 4 pixels.
        flip: default True.
    """

    batch_size: int = 128
    padding: int = 4
    flip: bool = True

    @property
    def class_names(self) -> tuple[str, ...]:
        """The kinds."""
        return THINGS

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Three channels, 32x32."""
        return (3, 32, 32)

    @property
    def outputs(self) -> int:
        """Ten classes."""
        return 10

    def load(self, directory: Path | None, *, download: bool = False) -> Arrays:
        """Read ``directory/cifar-10-batches-py``.

        Raises:
            DataError: it is not there or not the published data, or could not be downloaded.
        """
        return _load_cifar("CIFAR10", "CIFAR-10", directory, download)


@dataclass(frozen=True)
class CIFAR100(ImageTask):
    """60,000 colour 32x32 images of a hundred classes (Krizhevsky 2009), the fine labels.

    Attributes:
        batch_size: default 128.
        padding: default 4 pixels.
        flip: default True.
    """

    batch_size: int = 128
    padding: int = 4
    flip: bool = True

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Three channels, 32x32."""
        return (3, 32, 32)

    @property
    def outputs(self) -> int:
        """A hundred classes."""
        return 100

    def load(self, directory: Path | None, *, download: bool = False) -> Arrays:
        """Read ``directory/cifar-100-python``.

        Raises:
            DataError: it is not there or not the published data, or could not be downloaded.
        """
        return _load_cifar("CIFAR100", "CIFAR-100", directory, download)


def _load_cifar(name: str, title: str, directory: Path | None, download: bool) -> Arrays:
    root = _existing(directory, title, download)
    published = getattr(import_torchvision().datasets, name)
    # The published files are pickles. Before it unpickles one, torchvision compares the MD5 of every file
    # with the published one (CIFAR10.__init__: _check_integrity, then pickle.load; _load_meta likewise), so
    # only the published bytes, which are harmless, are ever unpickled.
    try:
        train, test = (published(root, train=train, download=download) for train in (True, False))
    except (RuntimeError, OSError) as error:
        if not download:
            raise _missing(title, root, f"the published {published.base_folder} folder") from error
        raise DataError(
            f"{title} could not be downloaded to {say(root)} ({shown(str(error))}); check the connection"
        ) from error
    return _split(
        train.data.transpose(0, 3, 1, 2),
        np.array(train.targets),
        test.data.transpose(0, 3, 1, 2),
        np.array(test.targets),
    )


def _download_fashion(datasets: Any, folder: Path) -> None:
    published = datasets.FashionMNIST
    try:
        for filename, md5 in published.resources:
            datasets.utils.download_and_extract_archive(
                published.mirrors[0] + filename, str(folder), filename=filename, md5=md5
            )
    except (RuntimeError, OSError) as error:
        raise DataError(
            f"Fashion-MNIST could not be downloaded to {say(folder)} ({shown(str(error))}); check the "
            "connection"
        ) from error


def _read_idx(datasets: Any, file: Path) -> np.ndarray:
    read = datasets.mnist.read_label_file if "labels" in file.name else datasets.mnist.read_image_file
    return read(str(file)).numpy()


def _all_classes(labels: np.ndarray, classes: int) -> bool:
    """Whether there is at least one label of each class, and none beside."""
    return labels.ndim == 1 and np.array_equal(np.unique(labels), np.arange(classes))


def _existing(directory: Path | None, title: str, download: bool) -> Path:
    if directory is None:
        raise DataError(
            f"{title} is not embedded; pass --data DIR with the data set, or --data DIR --download"
        )
    if not download:
        check_directory(directory, f"pass --data DIR with {title} in it, or add --download")
    return directory


def _missing(title: str, folder: Path, what: str) -> DataError:
    return DataError(f"{title} is not in {say(folder)}; pass --data DIR with {what} in it, or add --download")


def _split(
    train_images: np.ndarray, train_labels: np.ndarray, test_images: np.ndarray, test_labels: np.ndarray
) -> Arrays:
    """The published test split, and the published training split less a fixed stratified tenth."""
    labels = train_labels.astype(np.int64)
    counts = proportional(np.bincount(labels), round(VALIDATION_SHARE * len(labels)))
    train, validation = stratified(labels, [counts])
    return {
        "train_images": np.ascontiguousarray(train_images[train]),
        "train_labels": labels[train],
        "validation_images": np.ascontiguousarray(train_images[validation]),
        "validation_labels": labels[validation],
        "test_images": np.ascontiguousarray(test_images),
        "test_labels": test_labels.astype(np.int64),
    }
