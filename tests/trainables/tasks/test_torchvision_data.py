"""Published sets, from tiny files in their on-disk layout."""

from __future__ import annotations

import hashlib
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainables.tasks.base import Arrays, DataError
from trainables.tasks.images import ImageTask
from trainables.tasks.torchvision_data import CIFAR10, CIFAR100, FashionMNIST
from trainables.torchvision_guard import import_torchvision

RANDOM = np.random.RandomState(0)


def write_idx(path: Path, array: np.ndarray) -> None:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    path.write_bytes(header + array.tobytes())


def write_fashion(root: Path, train: int = 60, test: int = 20) -> dict[str, np.ndarray]:
    folder = root / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    written = {}
    for name, count in (("train", train), ("t10k", test)):
        written[f"{name}_images"] = RANDOM.randint(0, 256, (count, 28, 28), dtype=np.uint8)
        written[f"{name}_labels"] = np.arange(count, dtype=np.uint8) % 10
        write_idx(folder / f"{name}-images-idx3-ubyte", written[f"{name}_images"])
        write_idx(folder / f"{name}-labels-idx1-ubyte", written[f"{name}_labels"])
    return written


def write_cifar(folder: Path, name: str, entry: dict[str, Any]) -> list[str]:
    """Write one published-style pickle; returns what torchvision's list says of it: [name, md5]."""
    folder.mkdir(exist_ok=True)
    data = pickle.dumps(entry)
    (folder / name).write_bytes(data)
    return [name, hashlib.md5(data).hexdigest()]


def fake_cifar(
    root: Path, published: Any, monkeypatch: pytest.MonkeyPatch, label_key: str, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    folder = root / published.base_folder
    images, labels, files = [], [], []
    for name, _ in [*published.train_list, *published.test_list]:
        images.append(RANDOM.randint(0, 256, (2 * classes, 3072), dtype=np.uint8))
        labels.append(list(range(classes)) * 2)
        files.append(write_cifar(folder, name, {"data": images[-1], label_key: labels[-1]}))
    meta = dict(published.meta)
    meta["md5"] = write_cifar(folder, meta["filename"], {meta["key"]: [str(i) for i in range(classes)]})[1]
    monkeypatch.setattr(published, "train_list", files[:-1])
    monkeypatch.setattr(published, "test_list", files[-1:])
    monkeypatch.setattr(published, "meta", meta)
    return np.stack(images).reshape(-1, 2 * classes, 3, 32, 32), np.array(labels)


def rows(images: np.ndarray, labels: np.ndarray) -> list[tuple[bytes, int]]:
    return sorted((image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True))


def check(
    data: Arrays, task: ImageTask, train: list[tuple[bytes, int]], test: list[tuple[bytes, int]]
) -> None:
    """The test split is the published one; train and validation make up the published training split."""
    parts = [rows(data[f"{split}_images"], data[f"{split}_labels"]) for split in ("train", "validation")]
    assert sorted(parts[0] + parts[1]) == train
    assert rows(data["test_images"], data["test_labels"]) == test
    assert len(parts[1]) == round(0.1 * len(train))
    for split in ("train", "validation", "test"):
        assert data[f"{split}_images"].dtype == np.uint8 and data[f"{split}_labels"].dtype == np.int64
        assert data[f"{split}_images"].shape[1:] == task.input_shape


def test_fashion_mnist_reads_the_published_files(tmp_path: Path) -> None:
    written = write_fashion(tmp_path)
    task = FashionMNIST()
    data = task.load(tmp_path)
    check(
        data,
        task,
        rows(written["train_images"], written["train_labels"]),
        rows(written["t10k_images"], written["t10k_labels"]),
    )
    again = task.load(tmp_path)
    assert all(np.array_equal(data[name], again[name]) for name in data)


def test_fashion_mnist_never_unpickles_what_lies_beside_its_files(tmp_path: Path) -> None:
    write_fashion(tmp_path)
    processed = tmp_path / "FashionMNIST" / "processed"
    processed.mkdir()
    for name in ("training.pt", "test.pt"):
        (processed / name).write_bytes(b"not to be opened")
    assert len(FashionMNIST().load(tmp_path)["test_labels"]) == 20


def test_damaged_fashion_mnist_is_one_clear_error(tmp_path: Path) -> None:
    write_fashion(tmp_path)
    file = tmp_path / "FashionMNIST" / "raw" / "train-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DataError, match="damaged"):
        FashionMNIST().load(tmp_path)


@pytest.mark.parametrize("fault", ["a label too few", "an eleventh class", "nine classes", "larger images"])
def test_fashion_mnist_that_is_not_the_published_data_is_one_clear_error(tmp_path: Path, fault: str) -> None:
    write_fashion(tmp_path)
    raw = tmp_path / "FashionMNIST" / "raw"
    labels, images = raw / "train-labels-idx1-ubyte", raw / "train-images-idx3-ubyte"
    data = bytearray(labels.read_bytes())
    if fault == "a label too few":
        data[4:8] = (int.from_bytes(data[4:8], "big") - 1).to_bytes(4, "big")
        del data[-1]
    elif fault == "an eleventh class":
        data[8] = 10
    elif fault == "nine classes":
        data[8:] = bytes(0 if each == 9 else each for each in data[8:])
    else:
        head = bytearray(images.read_bytes())
        head[8:16] = (14).to_bytes(4, "big") + (56).to_bytes(4, "big")
        images.write_bytes(head)
    labels.write_bytes(data)
    with pytest.raises(DataError, match=r"are not the published ones .*; delete them") as caught:
        FashionMNIST().load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("task", [FashionMNIST(), CIFAR10(), CIFAR100()])
def test_a_directory_that_is_a_file_is_one_clear_error(tmp_path: Path, task: ImageTask) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file is not a directory; pass --data DIR"):
        task.load(tmp_path / "file")


@pytest.mark.parametrize(
    ("name", "label_key", "classes"), [("CIFAR10", "labels", 10), ("CIFAR100", "fine_labels", 100)]
)
def test_cifar_reads_the_published_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, label_key: str, classes: int
) -> None:
    task = {"CIFAR10": CIFAR10, "CIFAR100": CIFAR100}[name]()
    published = getattr(import_torchvision().datasets, name)
    images, labels = fake_cifar(tmp_path, published, monkeypatch, label_key, classes)
    train = rows(np.concatenate(images[:-1]), np.concatenate(labels[:-1]))
    check(task.load(tmp_path), task, train, rows(images[-1], labels[-1]))


class Evil:
    """Unpickling it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_a_cifar_file_that_is_not_the_published_one_is_never_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = import_torchvision().datasets.CIFAR10
    fake_cifar(tmp_path, published, monkeypatch, "labels", 10)
    trace = tmp_path / "trace"
    folder = tmp_path / published.base_folder
    for name in ("data_batch_1", "test_batch", "batches.meta"):
        original = (folder / name).read_bytes()
        write_cifar(folder, name, {"data": Evil(trace)})
        with pytest.raises(DataError, match="CIFAR-10 is not in"):
            CIFAR10().load(tmp_path)
        (folder / name).write_bytes(original)
    assert not trace.exists()
    CIFAR10().load(tmp_path)


@pytest.mark.parametrize(
    "task", [FashionMNIST(), CIFAR10(), CIFAR100()], ids=lambda task: type(task).__name__
)
def test_missing_data_says_what_to_do(task: ImageTask, tmp_path: Path) -> None:
    for directory in (None, tmp_path, tmp_path / "absent"):
        with pytest.raises(DataError, match=r"pass --data DIR.*--download") as caught:
            task.load(directory)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("task", [FashionMNIST(), CIFAR10()], ids=lambda task: type(task).__name__)
def test_a_failed_download_says_so(task: ImageTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from urllib.error import URLError

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise URLError("no route to host")

    monkeypatch.setattr("torchvision.datasets.utils._urlretrieve", refuse)
    monkeypatch.setattr("torchvision.datasets.utils._get_redirect_url", lambda url, **_: url)
    import_torchvision()
    with pytest.raises(DataError, match="could not be downloaded"):
        task.load(tmp_path / "new", download=True)
