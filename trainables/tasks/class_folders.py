"""Folders of images by class: which layouts there are, which files are used, and what is left out."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from trainables.foreign import shown
from trainables.tasks.base import SPLITS, DataError
from trainables.tasks.folders import (
    check_directory,
    entries,
    folders_in,
    hidden,
    identity,
    kind_of,
    litter,
    say,
)
from trainables.tasks.notes import Tallies
from trainables.tasks.pictures import FORMAT_OF_SUFFIX, suffix_of

FEWEST_IMAGES = 3
"""Of a class that is split into three."""
LONGEST_CLASS = 2048
"""Letters of a class's name; a folder's name of 255 bytes is shorter, however many need an escape."""

LAYOUTS = (
    "lay them out as DIR/<class>/*.png, or as DIR/train/<class>/*.png with test and val likewise beside train"
)
_SPLITS = {
    "train": re.compile(r"train(?:ing)?(?:[-_ ]?(?:set|split|data|images))?"),
    "test": re.compile(r"test(?:ing)?(?:[-_ ]?(?:set|split|data|images))?"),
    "validation": re.compile(r"(?:val|valid|validation|dev|development)(?:[-_ ]?(?:set|split|data|images))?"),
}
BESIDE = "images beside the class folders"
CIRCLE = "links to folders that were read already"
HIDDEN = "hidden files and folders"


class File(NamedTuple):
    """An image: its split, the name of its class, and its path relative to the listing's folder."""

    split: str
    label: str
    path: str


class Listing(NamedTuple):
    """Images by their paths, in order.

    ``folder`` is the one that they are relative to: the one given, or one in it that holds all the data, as
    ``entered`` says. ``left_out`` counts what is not used.
    """

    folder: Path
    files: list[File]
    entered: tuple[str, ...]
    left_out: Tallies

    @property
    def classes(self) -> tuple[str, ...]:
        """Those that have images to train on, sorted."""
        return tuple(sorted({file.label for file in self.files if file.split == "train"}))


def split_of(name: str) -> str | None:
    """The split that a folder's name means, in whatever case; None if it may be a class.

    ``train``, ``Training`` and ``training_set`` are ``train``; ``TEST`` and ``testing`` are ``test``;
    ``val``, ``valid``, ``validation`` and ``dev`` are ``validation``.
    """
    return next((split for split, names in _SPLITS.items() if names.fullmatch(name.casefold())), None)


def list_images(directory: Path, are_images: Callable[[Sequence[Path]], Sequence[bool]]) -> Listing:
    """All images in the class folders of ``directory`` and in folders within these.

    Args:
        directory: as the user gave it.
        are_images: whether files whose names do not say so are images all the same.

    Raises:
        DataError: it cannot be read, or is laid out in a way that says no classes.
    """
    check_directory(directory, "pass --data DIR with one folder of images per class")
    left_out = Tallies()
    folder, way = _entered(directory)
    entered = ["/".join(way)] if way else []
    _count_beside(folder, folder, left_out)
    splits: list[tuple[str, str]] = [("train", "")]
    if any(split_of(name) for name in folders_in(folder)):
        splits = []
        for split, name in _split_folders(folder):
            inner = _inner_split(folder, name)
            if inner != name:
                entered.append("/".join((*way, inner)))
            _count_beside(folder, folder / inner, left_out)
            splits.append((split, f"{inner}/"))
    files: list[File] = []
    for split, prefix in splits:
        files += _images(folder, split, prefix, are_images, left_out)
    files.sort(key=lambda file: file.path)
    listing = Listing(folder, files, tuple(shown(name) for name in entered), left_out)
    _check_classes(listing)
    return listing


def _entered(directory: Path) -> tuple[Path, list[str]]:
    """The folder that holds the data: while there is but one folder, with others in it, that one.

    Zip files unpack to ``photos/photos/cat``. Returned with the names of the folders on the way there.
    """
    folder, way, seen = directory, list[str](), {identity(directory)}
    while True:
        names = folders_in(folder)
        if len(names) != 1 or split_of(names[0]):
            break
        inner = folder / names[0]
        if identity(inner) in seen or not folders_in(inner):
            break
        seen.add(identity(inner))
        way.append(names[0])
        folder = inner
    return folder, way


def _inner_split(folder: Path, name: str) -> str:
    """``train/train`` where ``train`` holds nothing but another folder of its own kind, else ``train``."""
    path, seen = name, {identity(folder / name)}
    while True:
        names = folders_in(folder / path)
        if len(names) != 1 or split_of(names[0]) != split_of(name):
            return path
        inner = f"{path}/{names[0]}"
        if identity(folder / inner) in seen or not folders_in(folder / inner):
            return path
        seen.add(identity(folder / inner))
        path = inner


def _split_folders(folder: Path) -> list[tuple[str, str]]:
    """(split, name) of the folders in ``folder``, of which at least one is named like a split."""
    names = folders_in(folder)
    found: dict[str, str] = {}
    for name in names:
        split = split_of(name)
        if split is None:
            known = next(each for each in names if split_of(each))
            raise DataError(
                f"{say(folder)} holds both {shown(known)} and {shown(name)}; beside train put only test and "
                f"val, and give the folder another name if {shown(known)} is a class"
            )
        if split in found:
            raise DataError(f"{say(folder)} holds both {found[split]} and {shown(name)}; keep one of them")
        found[split] = name
    if "train" not in found:
        raise DataError(
            f"{say(folder)} holds {' and '.join(map(shown, names))} and no train, and a split is no class; "
            f"for images to train on, {LAYOUTS}"
        )
    return [(split, found[split]) for split in SPLITS if split in found]


def _count_beside(folder: Path, where: Path, left_out: Tallies) -> None:
    """Count the images in ``where`` that are in no class folder."""
    for entry in entries(where):
        if not hidden(entry) and suffix_of(entry.name) in FORMAT_OF_SUFFIX and kind_of(entry) == "file":
            left_out.add(BESIDE, os.path.relpath(entry.path, folder))


def _images(
    folder: Path,
    split: str,
    prefix: str,
    are_images: Callable[[Sequence[Path]], Sequence[bool]],
    left_out: Tallies,
) -> list[File]:
    """The images of one split, whose class folders lie in ``folder / prefix``."""
    files: list[File] = []
    names = folders_in(folder / prefix)
    if split == "train" and prefix and not names:
        raise DataError(
            f"{say(folder / prefix)} holds no folders of classes, and a split is no class; for its images, "
            f"{LAYOUTS}"
        )
    labels = _labels(folder / prefix, names)
    above = {identity(folder), identity(folder / prefix)}
    for name in names:
        outside = Tallies()
        found = list(_walk(folder, f"{prefix}{name}", set(above), outside))
        odd = [path for path in found if suffix_of(path) not in FORMAT_OF_SUFFIX]
        answers = dict(zip(odd, are_images([folder / path for path in odd]), strict=True))
        for path in odd:
            if not answers[path]:
                outside.add(_files_like(path), path)
        images = [path for path in found if answers.get(path, True)]
        left_out.join(outside)
        if split == "train" and len(images) < FEWEST_IMAGES:
            said = "".join(f"; left out: {tally.text}" for tally in outside.all())
            raise DataError(
                f"class '{labels[name]}' in {say(folder / prefix)} has {len(images)} images that can be used"
                f"{said}; put at least {FEWEST_IMAGES} in its folder or remove it"
            )
        files += [File(split, labels[name], path) for path in images]
    if split != "train" and not files:
        raise DataError(
            f"{say(folder / prefix)} holds no images in class folders; fill it or remove it: {LAYOUTS}"
        )
    return files


def _labels(folder: Path, names: list[str]) -> dict[str, str]:
    """Folder -> class, which is its name with escapes for all that cannot be shown or encoded."""
    labels: dict[str, str] = {}
    for name in names:
        label = shown(name, LONGEST_CLASS)
        if split_of(name):
            raise DataError(
                f"{say(folder)} holds {label}, which is the name of a split and no class; for images of "
                f"classes, {LAYOUTS}"
            )
        if label in labels.values():
            raise DataError(
                f"{say(folder)} has two class folders whose names read alike, {label}; rename one of them"
            )
        labels[name] = label
    return labels


def _walk(folder: Path, start: str, seen: set[tuple[int, int]], left_out: Tallies) -> Iterator[str]:
    """Paths, relative to ``folder``, of all files in its folder ``start`` and in those within it.

    Links are followed; a folder that was seen before is not, so that no links lead round in circles.
    """
    open_folders = [start]
    while open_folders:
        path = open_folders.pop()
        found = identity(folder / path)
        if found in seen:
            left_out.add(CIRCLE, path)
            continue
        seen.add(found)
        for entry in entries(folder / path):
            inner = f"{path}/{entry.name}"
            kind = HIDDEN if hidden(entry) else kind_of(entry)
            if kind == "folder":
                open_folders.append(inner)
            elif kind == "file":
                yield inner
            elif not litter(entry):
                left_out.add(kind, inner)


def _files_like(path: str) -> str:
    """``.txt files``: the kind of a file that is no image."""
    suffix = suffix_of(path)
    if not suffix:
        return "files without a suffix"
    return f"{shown(suffix)} files" if re.fullmatch(r"\.\w{1,10}", suffix) else "files of other kinds"


def _check_classes(listing: Listing) -> None:
    classes, folder = listing.classes, say(listing.folder)
    if not classes:
        raise DataError(f"{folder} has no class folders; put images into them: {LAYOUTS}")
    if len(classes) < 2:
        raise DataError(
            f"{folder} has only one class, '{classes[0]}'; put a folder of images of each class there"
        )
    known = set(classes)
    for file in listing.files:
        if file.label not in known:
            raise DataError(
                f"{shown(file.path)} is of a class that has no images to train on; add '{file.label}' to "
                "train"
            )
