"""Any directory of class folders of images: how users bring their own data."""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError

from trainables.part import check_choice
from trainables.tasks.base import SPLITS, Arrays, DataError
from trainables.tasks.images import ImageTask
from trainables.tasks.splits import stratified

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".webp")
FORMATS = ("BMP", "JPEG", "PNG", "PPM", "WEBP")  # what Pillow may try: its rarer decoders stay shut
GREY_MODES = ("1", "L")
EIGHT_BIT_MODES = (
    *GREY_MODES,
    "LA",
    "La",
    "P",
    "PA",
    "RGB",
    "RGBA",
    "RGBX",
    "RGBa",
    "CMYK",
    "YCbCr",
    "LAB",
    "HSV",
)
SPLIT_FOLDERS = {"train": "train", "test": "test", "val": "validation", "validation": "validation"}
HELD_OUT_SHARE = 0.15
FEWEST_IMAGES = 3
"""Of a class that is split into three."""
CHUNK = 256
"""Images per task of the thread pool; single images would cost more in hand-over than in decoding."""

SMALLEST, LARGEST = 4, 1024
"""Pixels a side of the images a network sees."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class ImageFolder(ImageTask):
    """Images in one folder per class, made by :meth:`scan`.

    Two layouts are read: ``DIR/<class>/*.png``, and ``DIR/train/<class>/*.png`` with ``test`` and
    ``val`` (or ``validation``) beside ``train``. A split that has no folder is a fixed stratified
    15 % of the images under ``train``, or of all, and at least one image per class. Pixels are
    taken as stored; rotation tags are not applied.

    Attributes:
        classes: names of the class folders, sorted; label ``i`` means ``classes[i]``.
        channels: 1 where every image is grey, else 3.
        image_size: (height, width) in pixels, each in [4, 1024]; other images are resized to it
            (bilinear with antialiasing, without keeping their aspect).
        digest: first 16 hex digits of the SHA-256 over all relative paths and file contents, so that
            recipes on different images never have one identity.
        batch_size: default 128.
        padding: default 2 pixels.
        flip: default False, since letters and digits change their meaning; switch it on for photographs.
    """

    classes: tuple[str, ...]
    channels: int
    image_size: tuple[int, int]
    digest: str
    batch_size: int = 128
    padding: int = 2
    flip: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "channels", (1, 3))
        if len(self.classes) < 2 or list(self.classes) != sorted(set(self.classes)):
            raise ValueError(
                f"classes must be at least 2 names, sorted, none twice, got classes={self.classes}"
            )
        _check_size(self.image_size)
        if not re.fullmatch("[0-9a-f]{16}", self.digest):
            raise ValueError(f"digest must be 16 hex digits, got digest={self.digest!r}")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(channels, height, width)."""
        return (self.channels, *self.image_size)

    @property
    def outputs(self) -> int:
        """One logit per class."""
        return len(self.classes)

    @classmethod
    def scan(
        cls,
        directory: Path,
        image_size: tuple[int, int] | None = None,
        *,
        batch_size: int = 128,
        padding: int = 2,
        flip: bool = False,
    ) -> ImageFolder:
        """The task of the images in ``directory``, which are read but not decoded.

        Args:
            directory: see the class.
            image_size: (height, width) to resize to; None where all images are of one size.
            batch_size: see the class.
            padding: see the class.
            flip: see the class.

        Raises:
            DataError: nothing usable there; the message says what and what to do.
            ValueError: a number out of its range.
        """
        if image_size is not None:
            _check_size(image_size)
        files = _listing(directory)
        headers = _in_threads(lambda file: _header(directory, file), files)
        if image_size is None:
            image_size = _common_size(files, headers)
        return cls(
            classes=_classes(files),
            channels=1 if all(header.mode in GREY_MODES for header in headers) else 3,
            image_size=image_size,
            digest=_digest(files, [header.sha256 for header in headers]),
            batch_size=batch_size,
            padding=padding,
            flip=flip,
        )

    def load(self, directory: Path | None, *, download: bool = False) -> Arrays:
        """Decode all images.

        Raises:
            DataError: ``directory`` is missing or unusable, or holds other images than were scanned.
        """
        if directory is None:
            raise DataError("an image folder is not embedded; pass --data DIR with the folder of images")
        files = _listing(directory)
        images = np.empty((len(files), *self.input_shape), dtype=np.uint8)

        def decode(item: tuple[int, _File]) -> bytes:
            number, file = item
            data = _read(directory, file)
            images[number] = _pixels(file, data, "L" if self.channels == 1 else "RGB", self.image_size)
            return hashlib.sha256(data).digest()

        digest = _digest(files, _in_threads(decode, list(enumerate(files))))
        if digest != self.digest:
            raise DataError(
                f"the images in {directory} are not those of the recipe (digest {digest} instead of "
                f"{self.digest}); pass --data DIR with the original folder"
            )
        label_of = {name: label for label, name in enumerate(self.classes)}
        labels = np.array([label_of[file.label] for file in files], dtype=np.int64)
        given = {split: np.flatnonzero([file.split == split for file in files]) for split in SPLITS}
        arrays: dict[str, np.ndarray] = {}
        for split, chosen in _chosen(labels, given).items():
            arrays[f"{split}_images"] = images[chosen]
            arrays[f"{split}_labels"] = labels[chosen]
        return arrays


class _File(NamedTuple):
    split: str
    label: str
    path: str  # relative to the directory, with forward slashes


class _Header(NamedTuple):
    mode: str
    size: tuple[int, int]  # (height, width)
    sha256: bytes


def _listing(directory: Path) -> list[_File]:
    """All images in the order of their relative paths, checked to be enough to learn from."""
    if not directory.exists():
        raise DataError(
            f"there is no directory {directory}; pass --data DIR with one folder of images per class"
        )
    if not directory.is_dir():
        raise DataError(
            f"{directory} is not a directory; pass --data DIR with one folder of images per class"
        )
    if (directory / "train").is_dir() and _folders(directory / "train"):
        files = [
            file
            for split, name in _split_folders(directory)
            for file in _images(directory, split, f"{name}/")
        ]
    else:
        files = _images(directory, "train", "")
    files.sort(key=lambda file: file.path)
    _check_classes(directory, files)
    return files


def _split_folders(directory: Path) -> list[tuple[str, str]]:
    names = _folders(directory)
    odd = [name for name in names if name not in SPLIT_FOLDERS]
    if odd:
        raise DataError(f"{directory} holds both train and {odd[0]}; beside train put only test and val")
    if "val" in names and "validation" in names:
        raise DataError(f"{directory} holds both val and validation; keep one of them")
    return [(SPLIT_FOLDERS[name], name) for name in names]


def _images(directory: Path, split: str, prefix: str) -> list[_File]:
    """The images of one split, whose class folders lie in ``directory / prefix``."""
    files: list[_File] = []
    for label in _folders(directory / prefix):
        names = [
            entry.name
            for entry in os.scandir(directory / prefix / label)
            if entry.name.lower().endswith(SUFFIXES) and not entry.name.startswith(".") and entry.is_file()
        ]
        if split == "train" and len(names) < FEWEST_IMAGES:
            raise DataError(
                f"class {label!r} in {directory / prefix} has {len(names)} images ({', '.join(SUFFIXES)}); "
                f"put at least {FEWEST_IMAGES} in its folder or remove it"
            )
        files += [_File(split, label, f"{prefix}{label}/{name}") for name in names]
    if split != "train" and not files:
        raise DataError(f"{directory / prefix} holds no images in class folders; fill it or remove it")
    return files


def _folders(directory: Path) -> list[str]:
    """Names of the folders in ``directory``, sorted, without hidden ones and those that macOS zips add."""
    return sorted(
        entry.name
        for entry in os.scandir(directory)
        if entry.is_dir() and not entry.name.startswith(".") and entry.name != "__MACOSX"
    )


def _check_classes(directory: Path, files: list[_File]) -> None:
    classes = _classes(files)
    if not classes:
        raise DataError(
            f"{directory} has no class folders; put the images of each class in a folder of their own"
        )
    if len(classes) < 2:
        raise DataError(
            f"{directory} has only one class, {classes[0]!r}; put a folder of images of each class there"
        )
    for file in files:
        if file.label not in classes:
            raise DataError(
                f"{file.path} is of a class that has no images to train on; add {file.label!r} to train"
            )


def _classes(files: list[_File]) -> tuple[str, ...]:
    return tuple(sorted({file.label for file in files if file.split == "train"}))


def _read(directory: Path, file: _File) -> bytes:
    try:
        return (directory / file.path).read_bytes()
    except OSError as error:
        raise DataError(
            f"{directory / file.path} cannot be read ({error}); make it readable or remove it"
        ) from error


def _header(directory: Path, file: _File) -> _Header:
    data = _read(directory, file)
    with _opened(file, data) as image:
        if image.mode not in EIGHT_BIT_MODES:
            raise DataError(
                f"{file.path} has more than 8 bits per channel ({image.mode}); convert it to 8 bits"
            )
        return _Header(image.mode, (image.height, image.width), hashlib.sha256(data).digest())


def _pixels(file: _File, data: bytes, mode: str, image_size: tuple[int, int]) -> np.ndarray:
    """uint8 of shape (channels, height, width)."""
    height, width = image_size
    try:
        with _opened(file, data) as image:
            decoded = image.convert(mode)
            if decoded.size != (width, height):
                decoded = decoded.resize((width, height), Image.Resampling.BILINEAR)
    except DataError:
        raise
    except Exception as error:
        raise _unreadable(file, error) from error
    return np.asarray(decoded).reshape(height, width, -1).transpose(2, 0, 1)


def _opened(file: _File, data: bytes) -> Image.Image:
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except Exception as error:  # on damaged bytes Pillow's decoders raise whatever their parsing ran into
        raise _unreadable(file, error) from error


def _unreadable(file: _File, error: Exception) -> DataError:
    reason = "it is no image of a known format" if isinstance(error, UnidentifiedImageError) else error
    return DataError(f"{file.path} cannot be decoded ({reason}); repair or remove it")


def _common_size(files: list[_File], headers: list[_Header]) -> tuple[int, int]:
    first = headers[0].size
    for file, header in zip(files, headers, strict=True):
        if header.size != first:
            raise DataError(
                f"the images differ in size: {files[0].path} is {_spell(first)} and {file.path} is "
                f"{_spell(header.size)} (height x width); pass --image-size to resize them all"
            )
    if any(not SMALLEST <= side <= LARGEST for side in first):
        raise DataError(
            f"the images are {_spell(first)}, outside {SMALLEST} to {LARGEST} pixels a side; "
            "pass --image-size to resize them all"
        )
    return first


def _spell(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _check_size(image_size: tuple[int, int]) -> None:
    if any(not SMALLEST <= side <= LARGEST for side in image_size):
        raise ValueError(
            f"image_size must be (height, width), each in [{SMALLEST}, {LARGEST}], got {image_size=}"
        )


def _digest(files: list[_File], sha256s: list[bytes]) -> str:
    whole = hashlib.sha256()
    for file, sha256 in zip(files, sha256s, strict=True):
        # Hashing the path makes its length fixed, so that no two listings run together to the same bytes.
        whole.update(hashlib.sha256(os.fsencode(file.path)).digest() + sha256)
    return whole.hexdigest()[:16]


def _chosen(labels: np.ndarray, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Per split the indices of its images: as given, missing splits drawn from the training images."""
    missing = [split for split in SPLITS if not len(given[split])]
    if not missing:
        return given
    sizes = np.bincount(labels[given["train"]])
    counts = np.maximum(1, np.rint(HELD_OUT_SHARE * sizes).astype(np.int64))
    parts = stratified(labels[given["train"]], [counts] * len(missing))
    return given | {
        split: given["train"][part] for split, part in zip(["train", *missing], parts, strict=True)
    }


def _in_threads(function: Callable[[Item], Result], items: list[Item]) -> list[Result]:
    """``function`` of each item, in order; Pillow and hashlib work without the interpreter's lock."""
    chunks = [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        return [
            result
            for part in pool.map(lambda chunk: [function(item) for item in chunk], chunks)
            for result in part
        ]
