"""Any directory of class folders of images: how users bring their own data."""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from trainables.data.keeping import is_kept, keep_or_hold
from trainables.data.sinks import InMemory, Sink, put
from trainables.data.telling import Tell, Teller
from trainables.foreign import shown
from trainables.image_sizes import fitting_batch_size
from trainables.part import check_choice
from trainables.tasks.base import SPLITS, Arrays, DataError
from trainables.tasks.class_folders import LONGEST_CLASS, File, Listing, list_images
from trainables.tasks.folders import cannot_be_read, say
from trainables.tasks.images import ImageTask, Scaling
from trainables.tasks.notes import DataNotes, Tallies
from trainables.tasks.pictures import Header, is_image, read_header, read_pixels
from trainables.tasks.scoring import check_class_quality
from trainables.tasks.splits import stratified

HELD_OUT_SHARE = 0.15
CHUNK = 256
"""Images per task of the thread pool; single images would cost more in hand-over than in decoding."""

DECODING_VERSION = 1
"""To be raised whenever the same files become other arrays; kept ones are then made again."""

SMALLEST, LARGEST = 4, 1024
"""Pixels a side of the images a network sees."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class ImageFolder(ImageTask):
    """Images in one folder per class, made by :meth:`scan`.

    Two layouts are read: ``DIR/<class>/*.png``, and ``DIR/train/<class>/*.png`` with ``test`` and ``val``
    beside ``train``; names of splits are known in any case and form (``Valid``, ``TESTING``,
    ``training_set``) and are never classes. A folder whose only folder holds the data is entered. Images in
    folders within a class folder are of that class. A split that has no folder is a fixed stratified 15 % of
    the images under ``train``, or of all, and at least one image per class.

    Used is whatever Pillow opens of the formats in :data:`trainables.tasks.pictures.FORMAT_OF_SUFFIX` (AVIF,
    BMP, GIF, ICO, JPEG, JPEG 2000, PCX, PNG, PPM, QOI, SGI, TGA, TIFF, WebP); files of other names are used
    if they begin as AVIF, GIF, JPEG, PNG or WebP. All other decoders stay shut: EPS would run Ghostscript,
    and few people test the rare ones against damaged files. Images are turned as their orientation tag says,
    put on white where they are transparent and scaled to 8 bits; of several frames the first is used.
    :meth:`examine` says what that did.

    Attributes:
        classes: names of the class folders, sorted; label ``i`` means ``classes[i]``. Characters that cannot
            be shown or encoded are escaped, as :func:`trainables.foreign.shown` does.
        channels: 1 where every image is grey, else 3; grey images have three equal ones then.
        image_size: (height, width) in pixels, each in [4, 1024]; other images are resized to it
            (bilinear with antialiasing, without keeping their aspect).
        digest: first 16 hex digits of the SHA-256 over all relative paths and file contents, so that
            recipes on different images never have one identity.
        batch_size: default 128.
        padding: default 2 pixels.
        flip: default False, since letters and digits change their meaning; switch it on for photographs.
        mean: of pixels in [0, 1], one number per channel, subtracted from them; None (default): with ``std``
            what maps them to [-1, 1].
        std: what they are divided by then, one number above 0 per channel.
        quality: by what students are judged, see :data:`trainables.metrics.samples.OF_CLASSES`; default
            ``accuracy``.
    """

    classes: tuple[str, ...]
    channels: int
    image_size: tuple[int, int]
    digest: str
    batch_size: int = 128
    padding: int = 2
    flip: bool = False
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    quality: str = "accuracy"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "channels", (1, 3))
        if len(self.classes) < 2 or list(self.classes) != sorted(set(self.classes)):
            raise ValueError(
                f"classes must be at least 2 names, sorted, none twice, got classes={self.classes}"
            )
        for name in self.classes:
            if not name or name != shown(name, LONGEST_CLASS):
                raise ValueError(f"classes must be names that can be shown, got {name!r}")
        _check_size(self.image_size)
        if not re.fullmatch("[0-9a-f]{16}", self.digest):
            raise ValueError(f"digest must be 16 hex digits, got digest={self.digest!r}")
        self._check_scaling()
        check_class_quality(self.quality)

    def _check_scaling(self) -> None:
        mean, std = self.mean, self.std
        if (mean is None) != (std is None):
            raise ValueError(f"mean and std go together, got {mean=} and {std=}")
        if mean is not None and std is not None and {len(mean), len(std)} != {self.channels}:
            raise ValueError(
                f"mean and std must have a number for each of the images' channels ({self.channels}), "
                f"got {mean=} and {std=}"
            )
        if std is not None and min(std) <= 0:
            raise ValueError(f"std must be above 0, got {std=}")

    @property
    def scaling(self) -> Scaling | None:
        """Of mean and standard deviation."""
        return None if self.mean is None or self.std is None else Scaling(self.mean, self.std)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The folders' names."""
        return self.classes

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
        batch_size: int | None = None,
        padding: int = 2,
        flip: bool = False,
        scaling: Scaling | None = None,
        quality: str = "accuracy",
    ) -> ImageFolder:
        """The task of the images in ``directory``, which are read but not decoded.

        Args:
            directory: see the class.
            image_size: (height, width) to resize to; None where all images are of one size.
            batch_size: see the class; None (default) takes as many as fit in memory, at most 128: see
                :func:`trainables.image_sizes.fitting_batch_size`.
            padding: see the class.
            flip: see the class.
            scaling: ``mean`` and ``std`` of the class; three numbers each make three channels of grey images.
            quality: see the class.

        Raises:
            DataError: nothing usable there; the message says what and what to do.
            ValueError: a number out of its range.
        """
        return cls.examine(
            directory,
            image_size,
            batch_size=batch_size,
            padding=padding,
            flip=flip,
            scaling=scaling,
            quality=quality,
        )[0]

    @classmethod
    def examine(
        cls,
        directory: Path,
        image_size: tuple[int, int] | None = None,
        *,
        batch_size: int | None = None,
        padding: int = 2,
        flip: bool = False,
        scaling: Scaling | None = None,
        quality: str = "accuracy",
    ) -> tuple[ImageFolder, DataNotes]:
        """The same task, and what was found about the images.

        Args:
            directory: see the class.
            image_size: see :meth:`scan`.
            batch_size: see the class; None (default) takes as many as fit in memory, at most 128: see
                :func:`trainables.image_sizes.fitting_batch_size`.
            padding: see the class.
            flip: see the class.
            scaling: see :meth:`scan`.
            quality: see the class.

        Raises:
            DataError: nothing usable there; the message says what and what to do.
            ValueError: a number out of its range.
        """
        if image_size is not None:
            _check_size(image_size)
        listing = _listing(directory)
        files = listing.files
        headers = _in_threads(lambda file: read_header(file.path, _read(listing, file)), files)
        if image_size is None:
            image_size = _common_size(files, headers)
        task = cls(
            classes=listing.classes,
            channels=1 if all(each.grey for each in headers) and not (scaling and scaling.mean[1:]) else 3,
            image_size=image_size,
            digest=_digest(files, [header.sha256 for header in headers]),
            batch_size=fitting_batch_size(*image_size) if batch_size is None else batch_size,
            padding=padding,
            flip=flip,
            mean=None if scaling is None else scaling.mean,
            std=None if scaling is None else scaling.std,
            quality=quality,
        )
        changed = Tallies()
        for file, header in zip(files, headers, strict=True):
            for change in header.changes:
                changed.add(change, file.path)
        doubtful = Tallies()
        for name in _uniform_classes(listing, headers, task):
            doubtful.add("classes whose images are all equal", name)
        _count_copies(files, headers, task, doubtful)
        tallies = (found.all() for found in (listing.left_out, changed, doubtful))
        return task, DataNotes(len(files), listing.entered, *tallies)

    def load(self, directory: Path | None, *, download: bool = False) -> Arrays:
        """Decode all images.

        Raises:
            DataError: ``directory`` is missing or unusable, or holds other images than were scanned.
        """
        sink = InMemory()
        self._decode(_listing_of(directory), sink, _tell_nobody)
        return sink.arrays

    def load_kept(self, directory: Path | None, store: Path, tell: Tell, *, download: bool = False) -> Arrays:
        """Decode all images into files of the store, or find there what an earlier sweep has decoded.

        Raises:
            DataError: as for :meth:`load`.
        """
        # Another release of Pillow may decode a JPEG to other pixels.
        facts = (DECODING_VERSION, Image.__version__, self.digest, self.channels, self.image_size)
        key = hashlib.sha256(repr(facts).encode()).hexdigest()[:32]
        # Listed before the store has a folder, which may lie among the images.
        listing = None if is_kept(store, key) else _listing_of(directory)

        def make(sink: Sink) -> None:
            self._decode(listing or _listing_of(directory), sink, tell)

        return keep_or_hold(store, key, make, tell)

    def _decode(self, listing: Listing, sink: Sink, tell: Tell) -> None:
        """Write all splits into ``sink``, image by image.

        Raises:
            DataError: as for :meth:`load`.
        """
        files = listing.files
        known = set(self.classes)
        if listing.classes != self.classes or any(file.label not in known for file in files):
            raise self._others(listing, _digest(files, _in_threads(lambda f: _sha256(listing, f), files)))
        labels = self._labels(files)
        place: dict[int, tuple[str, int]] = {}
        for split, chosen in _chosen(labels, files).items():
            sink.create(f"{split}_images", (len(chosen), *self.input_shape), "uint8")
            put(sink, f"{split}_labels", labels[chosen])
            place |= {number: (f"{split}_images", row) for row, number in enumerate(chosen.tolist())}
        teller = Teller(tell, "decoding images", len(files))

        def decode(number: int) -> bytes:
            file, (name, row) = files[number], place[number]
            data = _read(listing, file)
            sink.write(name, row, self._pixels(file, data)[None])
            return hashlib.sha256(data).digest()

        digest = _digest(files, _in_threads(decode, range(len(files)), teller))
        if digest != self.digest:
            raise self._others(listing, digest)

    def _others(self, listing: Listing, digest: str) -> DataError:
        return DataError(
            f"the images in {say(listing.folder)} are not those of the recipe (digest {digest} instead of "
            f"{self.digest}); pass --data DIR with the original folder"
        )

    def _pixels(self, file: File, data: bytes) -> np.ndarray:
        return read_pixels(file.path, data, "L" if self.channels == 1 else "RGB", self.image_size)

    def _labels(self, files: Iterable[File]) -> np.ndarray:
        """int64, shape (files,)."""
        label_of = {name: label for label, name in enumerate(self.classes)}
        return np.array([label_of[file.label] for file in files], dtype=np.int64)


def _listing(directory: Path) -> Listing:
    return list_images(directory, lambda paths: _in_threads(is_image, paths))


def _listing_of(directory: Path | None) -> Listing:
    if directory is None:
        raise DataError("an image folder is not embedded; pass --data DIR with the folder of images")
    return _listing(directory)


def _read(listing: Listing, file: File) -> bytes:
    path = listing.folder / file.path
    try:
        return path.read_bytes()
    except OSError as error:
        raise cannot_be_read(path, error) from error


def _sha256(listing: Listing, file: File) -> bytes:
    return hashlib.sha256(_read(listing, file)).digest()


def _uniform_classes(listing: Listing, headers: list[Header], task: ImageFolder) -> list[str]:
    """Classes of which all images have the same pixels, as a network sees them.

    Images are decoded until two of a class differ, which mostly are the first two.
    """
    members: dict[str, list[File]] = {name: [] for name in task.classes}
    hashes: dict[str, set[bytes]] = {name: set() for name in task.classes}
    for file, header in zip(listing.files, headers, strict=True):
        if header.sha256 not in hashes[file.label]:  # a copy cannot differ
            hashes[file.label].add(header.sha256)
            members[file.label].append(file)

    def uniform(name: str) -> bool:
        first, *others = members[name]
        pixels = task._pixels(first, _read(listing, first))
        return all(np.array_equal(pixels, task._pixels(file, _read(listing, file))) for file in others)

    found = _in_threads(uniform, task.classes)
    return [name for name, same in zip(task.classes, found, strict=True) if same]


def _count_copies(files: list[File], headers: list[Header], task: ImageFolder, doubtful: Tallies) -> None:
    """Count files of the same bytes that are in two splits, or in two classes."""
    first: dict[bytes, File] = {}
    for file, header in zip(files, headers, strict=True):
        other = first.setdefault(header.sha256, file)
        if other.label != file.label:
            doubtful.add("images that another class has, too", f"{file.path} is {other.path}")
    chosen = _chosen(task._labels(files), files)
    trained = {headers[number].sha256: files[number].path for number in chosen["train"]}
    for split in SPLITS[1:]:
        for number in chosen[split]:
            if copy := trained.get(headers[number].sha256):
                kind = f"{split} images that the training split has, too"
                doubtful.add(kind, f"{files[number].path} is {copy}")


def _common_size(files: list[File], headers: list[Header]) -> tuple[int, int]:
    first = headers[0].size
    for file, header in zip(files, headers, strict=True):
        if header.size != first:
            raise DataError(
                f"the images differ in size: {shown(files[0].path)} is {_spell(first)} and "
                f"{shown(file.path)} is {_spell(header.size)} (height x width); pass --image-size to resize "
                "them all"
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


def _digest(files: list[File], sha256s: list[bytes]) -> str:
    whole = hashlib.sha256()
    for file, sha256 in zip(files, sha256s, strict=True):
        # Hashing the path makes its length fixed, so that no two listings run together to the same bytes.
        whole.update(hashlib.sha256(os.fsencode(file.path)).digest() + sha256)
    return whole.hexdigest()[:16]


def _chosen(labels: np.ndarray, files: list[File]) -> dict[str, np.ndarray]:
    """Per split the indices of its images: as given, missing splits drawn from the training images."""
    given = {split: np.flatnonzero([file.split == split for file in files]) for split in SPLITS}
    missing = [split for split in SPLITS if not len(given[split])]
    if not missing:
        return given
    sizes = np.bincount(labels[given["train"]])
    counts = np.maximum(1, np.rint(HELD_OUT_SHARE * sizes).astype(np.int64))
    parts = stratified(labels[given["train"]], [counts] * len(missing))
    return given | {
        split: given["train"][part] for split, part in zip(["train", *missing], parts, strict=True)
    }


def _in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], teller: Teller | None = None
) -> list[Result]:
    """``function`` of each item, in order; Pillow and hashlib work without the interpreter's lock."""
    Image.init()  # before threads ask for formats, each of which would begin it
    chunks = [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]
    with warnings.catch_warnings(), ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        # Pillow warns of what is said in words of our own, or mended: palettes, tags, sizes below its limit.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
        results: list[Result] = []
        for part in pool.map(lambda chunk: [function(item) for item in chunk], chunks):
            results += part
            if teller is not None:
                teller.at(len(results))
        return results


def _tell_nobody(text: str) -> None:
    """Where nobody waits."""
