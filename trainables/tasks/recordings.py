"""Folders of recordings by class: which files are used, of which split they are, and what is in them."""

from __future__ import annotations

import hashlib
import io
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainables.foreign import shown
from trainables.tasks.base import SPLITS, DataError
from trainables.tasks.class_folders import LONGEST_CLASS, split_of
from trainables.tasks.folders import check_directory, entries, files_in, folders_in, hidden, kind_of, say
from trainables.tasks.notes import Tallies
from trainables.tasks.splits import stratified

SUFFIXES = (".wav", ".flac", ".ogg")
NOISE = "_background_noise_"
LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}
"""Of Google's Speech Commands: a line for each file, such as ``yes/0a7c2a8d_nohash_0.wav``."""
HELD_OUT = 0.15
FEWEST = 3
"""Recordings of a class that is split into three."""
LAYOUT = "lay them out as DIR/<class>/*.wav, or as DIR/train/<class>/*.wav with test and val beside train"
SECONDS_AT_MOST = 600
"""Of a recording that is read at all."""
WAYS = ("speakers", "recordings")
"""Along what splits are drawn that the folder does not give."""


class Recording(NamedTuple):
    """A file: the split that the folder gives it (empty: none), its class, its path from the folder."""

    split: str
    label: str
    path: str

    @property
    def speaker(self) -> str:
        """Who speaks, as in ``anna_3.wav`` and ``0a7c2a8d_nohash_0.wav``; empty where no name says it."""
        stem = Path(self.path).stem
        if "_nohash_" in stem:
            return stem.partition("_nohash_")[0]
        match = re.fullmatch(r"(.*[A-Za-z].*)_\d+", stem)
        return match[1] if match else ""


class Found(NamedTuple):
    """What lies in a folder; ``noise`` are the paths of recordings without words."""

    folder: Path
    files: list[Recording]
    noise: list[str]
    left_out: Tallies

    @property
    def classes(self) -> tuple[str, ...]:
        """Sorted."""
        return tuple(sorted({file.label for file in self.files}))


class Unreadable(DataError):
    """A recording that is of no use; the message says which, why, and what to do."""


def list_recordings(directory: Path) -> Found:
    """All recordings in the class folders of ``directory``.

    Raises:
        DataError: it cannot be read, or is laid out in a way that says no classes.
    """
    check_directory(directory, "pass --data DIR with one folder of recordings per class")
    left_out, files = Tallies(), list[Recording]()
    names = [name for name in folders_in(directory) if name != NOISE]
    splits = {split_of(name): name for name in names if split_of(name)}
    if splits and (len(splits) < len(names) or "train" not in splits):
        known = ", ".join(map(shown, names))
        raise DataError(f"{say(directory)} holds {known}: beside train put only test and val, or {LAYOUT}")
    for split, prefix in ((split, f"{splits[split]}/") for split in SPLITS if split in splits):
        files += _of_classes(directory, prefix, split, left_out)
    if not splits:
        files = _of_classes(directory, "", "", left_out)
        files = _listed(directory, files)
    noise = (
        [f"{NOISE}/{name}" for name in _sounds(directory, NOISE, left_out)]
        if (directory / NOISE).is_dir()
        else []
    )
    found = Found(directory, sorted(files, key=lambda file: file.path), noise, left_out)
    _check_classes(found)
    return found


def _of_classes(directory: Path, prefix: str, split: str, left_out: Tallies) -> list[Recording]:
    files = []
    for name in folders_in(directory / prefix):
        if name != NOISE:
            label = shown(name, LONGEST_CLASS)
            sounds = _sounds(directory, f"{prefix}{name}", left_out)
            files += [Recording(split, label, f"{prefix}{name}/{sound}") for sound in sounds]
    return files


def _sounds(directory: Path, name: str, left_out: Tallies) -> list[str]:
    found = []
    for entry in entries(directory / name):
        if hidden(entry) or kind_of(entry) != "file":
            left_out.add("hidden files and folders within classes", f"{name}/{entry.name}")
        elif Path(entry.name).suffix.lower() in SUFFIXES:
            found.append(entry.name)
        else:
            left_out.add("files that are no wav, flac or ogg", f"{name}/{entry.name}")
    return found


def _listed(directory: Path, files: list[Recording]) -> list[Recording]:
    """The files with the splits of Speech Commands' own lists, where they lie in the folder."""
    there = set(files_in(directory))
    if not there & set(LISTS.values()):
        return files
    split_by = {}
    known = {file.path for file in files}
    for split, name in LISTS.items():
        if name not in there:
            raise DataError(f"{say(directory)} has no {name} beside the other list; add it or remove both")
        for number, line in enumerate((directory / name).read_text("utf-8", "replace").splitlines(), 1):
            if line and line not in known:
                raise DataError(
                    f"{name}, line {number} names {shown(line, 100)}, which is not there; remove the line"
                )
            split_by[line] = split
    return [file._replace(split=split_by.get(file.path, "train")) for file in files]


def _check_classes(found: Found) -> None:
    if len(found.classes) < 2:
        had = f"only one class, '{found.classes[0]}'" if found.classes else "no class folders with recordings"
        raise DataError(f"{say(found.folder)} has {had}; {LAYOUT}")
    for label in found.classes:
        own = [file for file in found.files if file.label == label]
        trained = [file for file in own if file.split in ("", "train")]
        if len(trained) < (FEWEST if not own[0].split else 1):
            raise DataError(
                f"class '{label}' in {say(found.folder)} has {len(trained)} recordings to train on; put at "
                f"least {FEWEST} in its folder or remove it"
            )


def drawn_splits(files: Sequence[Recording], classes: Sequence[str], way: str) -> dict[str, np.ndarray]:
    """Per split the numbers of its files: as given; missing splits are drawn from those that train.

    Args:
        files: with the splits that the folder gives.
        classes: all, sorted.
        way: ``speakers``, so that nobody speaks on two sides, where every name says who speaks and each class
            has a speaker for every split; or ``recordings``, 15 % of each class.

    Raises:
        DataError: a class has no recordings in a split that was drawn by speakers.
    """
    given = {split: np.flatnonzero([file.split == split for file in files]) for split in SPLITS}
    if any(file.split for file in files) and all(len(given[split]) for split in SPLITS):
        return given
    rest = np.flatnonzero([file.split in ("", "train") for file in files])
    own = [files[number] for number in rest.tolist()]
    missing = [split for split in SPLITS[1:] if not len(given[split])]
    if way == "speakers" and _speak(own, classes, 1 + len(missing)):
        parts = _by_speaker(own, missing)
    else:
        labels = np.array([classes.index(file.label) for file in own])
        sizes = np.bincount(labels, minlength=len(classes))
        counts = np.maximum(1, np.rint(HELD_OUT * sizes).astype(np.int64))
        drawn = stratified(labels, [counts] * len(missing))
        parts = dict(zip(["train", *missing], drawn, strict=True))
    found = given | {split: rest[part] for split, part in parts.items()}
    for split in ("train", *missing):
        if lacking := set(classes) - {files[number].label for number in found[split].tolist()}:
            raise DataError(
                f"nobody says '{min(lacking)}' in the {split} split, which is drawn by speakers; "
                "pass --split recordings"
            )
    return found


def _speak(files: Sequence[Recording], classes: Sequence[str], least: int) -> bool:
    """Whether all names say who speaks, so many of them in each class.

    In ``dog/dog_1.wav`` the name says what the folder says, and nobody speaks.
    """
    speakers: dict[str, set[str]] = {label: set() for label in classes}
    for file in files:
        speakers[file.label].add(file.speaker)
    return all("" not in found and len(found) >= least for found in speakers.values())


def shared_speakers(files: Sequence[Recording], chosen: Mapping[str, np.ndarray]) -> list[str]:
    """Who speaks in the training split and in another one, as far as names say it; sorted."""
    said = {split: {files[number].speaker for number in chosen[split].tolist()} for split in SPLITS}
    found = (said["validation"] | said["test"]) & said["train"] - {""}
    labels: dict[str, set[str]] = {name: set() for name in found}
    for file in files:
        if (name := file.speaker) in labels:
            labels[name].add(file.label)
    return sorted(name for name, several in labels.items() if len(several) > 1)


def _by_speaker(files: Sequence[Recording], missing: Sequence[str]) -> dict[str, np.ndarray]:
    """Whole speakers; of Speech Commands by the publisher's own rule, of which adding files moves none."""
    places: dict[str, list[int]] = {split: [] for split in ("train", *missing)}
    if all("_nohash_" in file.path for file in files):
        for number, file in enumerate(files):
            hashed = int(hashlib.sha1(file.speaker.encode()).hexdigest(), 16) % 2**27
            share = hashed * 100 / (2**27 - 1)
            split = "validation" if share < 10 else "test" if share < 20 else "train"
            places[split if split in places else "train"].append(number)
    else:
        order = sorted(
            {file.speaker for file in files}, key=lambda name: hashlib.sha1(name.encode()).hexdigest()
        )
        each = max(1, round(HELD_OUT * len(order)))
        held = {name: split for i, split in enumerate(missing) for name in order[i * each : (i + 1) * each]}
        for number, file in enumerate(files):
            places[held.get(file.speaker, "train")].append(number)
    return {split: np.array(numbers, dtype=np.int64) for split, numbers in places.items()}


def read_sound(path: str, data: bytes) -> tuple[np.ndarray, int, int]:
    """Samples of a recording, its channels mixed, float32; then its rate, and how many channels it has.

    Raises:
        Unreadable: it cannot be decoded, is empty or is longer than ten minutes.
    """
    import soundfile  # loads a library of its own, which only this task needs

    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            rate, channels, frames = file.samplerate, file.channels, file.frames
            if frames > SECONDS_AT_MOST * rate:
                raise Unreadable(
                    f"{shown(path)} is longer than {SECONDS_AT_MOST} seconds; cut it or remove it"
                )
            samples = file.read(dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, RuntimeError, ValueError, MemoryError) as error:
        reason = shown(" ".join(str(error).split()).rpartition(": ")[2], 100)
        raise Unreadable(f"{shown(path)} cannot be read ({reason}); repair it or remove it") from error
    if not samples.size:
        raise Unreadable(f"{shown(path)} is empty; record it again or remove it")
    if not np.isfinite(samples).all():
        raise Unreadable(f"{shown(path)} holds samples that are no numbers; repair it or remove it")
    return samples.mean(1), rate, channels


def resampled(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """Samples at the wanted rate, by a polyphase filter."""
    if rate == wanted:
        return samples
    from scipy.signal import resample_poly  # takes a second, for tasks that are no sound

    divisor = math.gcd(rate, wanted)
    return np.asarray(resample_poly(samples, wanted // divisor, rate // divisor), dtype=np.float32)


def fitted(samples: np.ndarray, length: int) -> np.ndarray:
    """A recording of the wanted length: silence on both sides of a short one, the loudest of a long one."""
    if len(samples) <= length:
        before = (length - len(samples)) // 2
        return np.pad(samples, (before, length - len(samples) - before))
    energy = np.concatenate([[0.0], np.cumsum(np.square(samples, dtype=np.float64))])
    start = int(np.argmax(energy[length:] - energy[:-length]))
    return samples[start : start + length]


def as_int16(path: str, samples: np.ndarray) -> np.ndarray:
    """Samples in [-1, 1] as they are stored.

    Raises:
        Unreadable: all of them are silent.
    """
    stored = np.clip(np.rint(samples * 32767), -32768, 32767).astype(np.int16)
    if not stored.any():
        raise Unreadable(f"{shown(path)} is silent; record it again or remove it")
    return stored


def common(values: Mapping[Any, int]) -> Any:
    """The most frequent value, the smallest of several."""
    return max(sorted(values), key=lambda value: values[value])
