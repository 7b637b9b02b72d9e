"""Any directory of class folders of recordings: how users bring their own sounds."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from trainables.data.keeping import keep_or_hold
from trainables.data.sinks import Sink, put
from trainables.data.telling import Tell
from trainables.foreign import shown
from trainables.part import check_choice
from trainables.tasks.base import SPLITS, Arrays, DataError
from trainables.tasks.class_folders import LONGEST_CLASS
from trainables.tasks.folders import cannot_be_read, say
from trainables.tasks.log_mel import log_mel
from trainables.tasks.notes import DataNotes, Tallies
from trainables.tasks.recordings import (
    WAYS,
    Found,
    Recording,
    Unreadable,
    as_int16,
    common,
    drawn_splits,
    fitted,
    list_recordings,
    read_sound,
    resampled,
    shared_speakers,
)
from trainables.tasks.sounds import SoundTask, white_noise

HIGHEST_RATE = 16_000
"""Samples per second beyond which recordings of words gain nothing."""
MEASURED = 512
"""Recordings that mean and deviation of the features are of."""
LONGEST_NOISE = 60
"""Seconds of background noise that are used."""


class _Read(NamedTuple):
    """What was read of a folder: the files that are used, and their samples as they are stored."""

    files: list[Recording]
    sounds: np.ndarray
    noise: np.ndarray
    digest: str


@dataclass(frozen=True)
class SoundFolder(SoundTask):
    """Recordings (wav, flac, ogg) in one folder per class, made by :meth:`examine`.

    Two layouts are read: ``DIR/<class>/*.wav``, and ``DIR/train/<class>/*.wav`` with ``test`` and ``val``
    beside ``train``. In the first, ``validation_list.txt`` and ``testing_list.txt`` of Speech Commands are
    honoured; without them splits are drawn, 15 % each, along speakers where every name says who speaks
    (``anna_3.wav``; ``0a7c2a8d_nohash_0.wav`` by Speech Commands' own rule), else along recordings. What
    ``_background_noise_`` holds is mixed in while students train, white noise where there is none.

    Channels are mixed, other rates resampled, and every recording has one length: short ones get silence on
    both sides, of long ones the loudest part is used.

    Attributes:
        classes: names of the class folders, sorted; label ``i`` means ``classes[i]``.
        digest: first 16 hex digits of the SHA-256 over all relative paths and file contents that are used.
        split: ``speakers`` (default) or ``recordings``: along what missing splits are drawn.
        skips: whether recordings that are of no use are left out; default False.
        sample_rate: the most frequent rate of the files, at most 16,000.
        seconds: default 1.
        window_ms: default 40.
        hop_ms: default 20.
        mels: default 40.
        mean: of the training split's features, as :meth:`examine` finds it.
        std: likewise.
        batch_size: default 64.
        shift_ms: default 100.
        noise: default 0.1.
        time_mask_ms: default 100.
        band_mask: default 5.
        quality: default ``accuracy``.
    """

    classes: tuple[str, ...]
    digest: str
    sample_rate: int
    mean: float
    std: float
    split: str = "speakers"
    skips: bool = False
    seconds: float = 1.0
    window_ms: float = 40.0
    hop_ms: float = 20.0
    mels: int = 40
    batch_size: int = 64
    shift_ms: float = 100.0
    noise: float = 0.1
    time_mask_ms: float = 100.0
    band_mask: int = 5
    quality: str = "accuracy"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "split", WAYS)
        if len(self.classes) < 2 or list(self.classes) != sorted(set(self.classes)):
            raise ValueError(f"classes must be at least 2 names, sorted, none twice, got {self.classes}")
        for name in self.classes:
            if not name or name != shown(name, LONGEST_CLASS):
                raise ValueError(f"classes must be names that can be shown, got {name!r}")
        if not re.fullmatch("[0-9a-f]{16}", self.digest):
            raise ValueError(f"digest must be 16 hex digits, got digest={self.digest!r}")

    @property
    def class_names(self) -> tuple[str, ...]:
        """The folders' names."""
        return self.classes

    @property
    def outputs(self) -> int:
        """One logit per class."""
        return len(self.classes)

    @classmethod
    def examine(cls, directory: Path, **settings: Any) -> tuple[SoundFolder, DataNotes]:
        """The task of the recordings in ``directory``, and what was found about them.

        Args:
            directory: see the class.
            settings: further fields, such as ``split``, ``skips`` or ``seconds``.

        Raises:
            DataError: nothing usable there; the message says what, with the file, and what to do.
            ValueError: a setting out of its range.
        """
        found, changed = list_recordings(directory), Tallies()
        rates = Counter(_rate(found, file) for file in found.files)
        rate = settings.pop("sample_rate", None) or min(HIGHEST_RATE, common(rates) or HIGHEST_RATE)
        task = cls(found.classes, "0" * 16, rate, 0.0, 1.0, **settings)
        read = task._read(found, changed)
        classes = tuple(sorted({file.label for file in read.files}))
        if classes != task.classes:
            raise DataError(
                f"class '{min(set(task.classes) - set(classes))}' in {say(directory)} has no recording that "
                "can be used; record some or remove its folder"
            )
        chosen = drawn_splits(read.files, classes, task.split)
        few = read.sounds[chosen["train"]][:: max(1, len(chosen["train"]) // MEASURED)]
        values = log_mel(torch.from_numpy(few).float() / 32768, task.features)
        # Few digits: another library's last bits must not make another recipe.
        mean, std = float(f"{float(values.mean()):.3g}"), float(f"{max(float(values.std()), 1e-3):.3g}")
        task = replace(task, digest=read.digest, mean=mean, std=std)
        doubtful = _copies(read, chosen)
        tallies = (each.all() for each in (found.left_out, changed, doubtful))
        return task, DataNotes(len(read.files), (), *tallies)

    def load(self, directory: Path | None, *, download: bool = False) -> Arrays:
        """Decode all recordings.

        Raises:
            DataError: ``directory`` is missing or unusable, or holds other recordings than were examined.
        """
        if directory is None:
            raise DataError("a folder of recordings is not embedded; pass --data DIR with the folder")
        read = self._read(list_recordings(directory), Tallies())
        if read.digest != self.digest:
            raise DataError(
                f"the recordings in {say(directory)} are not those of the recipe (digest {read.digest} "
                f"instead of {self.digest}); pass --data DIR with the original folder"
            )
        labels = np.array([self.classes.index(file.label) for file in read.files], dtype=np.int64)
        arrays = {"noise": read.noise}
        for split, chosen in drawn_splits(read.files, self.classes, self.split).items():
            arrays[f"{split}_sounds"], arrays[f"{split}_labels"] = read.sounds[chosen], labels[chosen]
        return arrays

    def load_kept(self, directory: Path | None, store: Path, tell: Tell, *, download: bool = False) -> Arrays:
        """Decode all recordings into files of the store, or find there what an earlier sweep has decoded."""
        facts = (1, self.digest, self.sample_rate, self.samples, self.split, self.skips)
        key = hashlib.sha256(repr(facts).encode()).hexdigest()[:32]

        def make(sink: Sink) -> None:
            for name, array in self.load(directory).items():
                put(sink, name, array)

        return keep_or_hold(store, key, make, tell)

    def _read(self, found: Found, changed: Tallies) -> _Read:
        whole, files, sounds = hashlib.sha256(), list[Recording](), list[np.ndarray]()
        for file in found.files:
            data = _bytes(found, file.path)
            try:
                sounds.append(self._sound(file.path, data, changed))
            except Unreadable as error:
                if not self.skips:
                    raise Unreadable(f"{error}, or pass --skip-unreadable") from error
                found.left_out.add("recordings that are of no use", file.path)
                continue
            files.append(file)
            whole.update(hashlib.sha256(os.fsencode(file.path)).digest() + hashlib.sha256(data).digest())
        noise = [
            resampled(*read_sound(path, _bytes(found, path))[:2], self.sample_rate) for path in found.noise
        ]
        for path in found.noise:
            whole.update(hashlib.sha256(_bytes(found, path)).digest())
        if not sounds:
            raise DataError(f"{say(found.folder)} has no recording that can be used; record some")
        return _Read(files, np.stack(sounds), self._noise(noise), whole.hexdigest()[:16])

    def _sound(self, path: str, data: bytes, changed: Tallies) -> np.ndarray:
        samples, rate, channels = read_sound(path, data)
        if channels > 1:
            changed.add("channels mixed", path)
        if rate != self.sample_rate:
            changed.add(f"resampled from {rate:,} Hz", path)
        samples = resampled(samples, rate, self.sample_rate)
        if len(samples) > self.samples:
            changed.add("cut to their loudest part", path)
        return as_int16(path, fitted(samples, self.samples))

    def _noise(self, found: Sequence[np.ndarray]) -> np.ndarray:
        if not found:
            return white_noise(10 * self.samples)
        joined = np.concatenate(found)[: LONGEST_NOISE * self.sample_rate]
        joined = np.resize(joined, max(len(joined), self.samples))
        return np.clip(joined * 32767, -32768, 32767).astype(np.int16)


def _rate(found: Found, file: Recording) -> int:
    """Samples per second as the file's header says; 0 where it cannot be read, which is told later."""
    import soundfile

    try:
        with soundfile.SoundFile(str(found.folder / file.path)) as opened:
            return int(opened.samplerate)
    except (soundfile.SoundFileError, RuntimeError, ValueError):
        return 0


def _bytes(found: Found, path: str) -> bytes:
    try:
        return (found.folder / path).read_bytes()
    except OSError as error:
        raise cannot_be_read(found.folder / path, error) from error


def _copies(read: _Read, chosen: dict[str, np.ndarray]) -> Tallies:
    """Counts speakers and recordings of validation and test that training has, too."""
    doubtful = Tallies()
    for name in shared_speakers(read.files, chosen):
        doubtful.add("speakers of validation or test who train, too", name)
    trained = {read.sounds[number].tobytes() for number in chosen["train"]}
    for split in SPLITS[1:]:
        for number in chosen[split]:
            if read.sounds[number].tobytes() in trained:
                doubtful.add(f"{split} recordings that the training split has, too", read.files[number].path)
    return doubtful
