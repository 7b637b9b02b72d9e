"""The embedded task of sound: words that a synthesiser of voices speaks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trainables.tasks.base import Arrays, DataError
from trainables.tasks.sounds import SoundTask, white_noise

VOICES = {"train": 24, "validation": 8, "test": 8}
TAKES = 5
"""Of every word by every voice."""
SEED = 20_180_215
FRAME = 40
"""Samples between which pitch, loudness and formants are drawn; 5 ms."""

FORMANTS = {
    "a": (730, 1090, 2440),
    "e": (530, 1840, 2480),
    "i": (270, 2290, 3010),
    "o": (570, 840, 2410),
    "u": (300, 870, 2240),
}
"""Of vowels in Hz, of men on average (Peterson & Barney 1952)."""
NOISES = {"s": (2600, 3900), "f": (900, 3600), "k": (1200, 2200), "t": (1900, 3400)}
"""From where to where the noise of consonants goes, in Hz."""
WORDS = ("aku", "ata", "efo", "ika", "iso", "ofe", "osi", "taku", "usa", "uti")
"""Vowels are spoken and consonants are noise; some words differ in one sound alone."""


class Voice(NamedTuple):
    """How somebody speaks: pitch in Hz, length of the throat and tempo beside the average, breath."""

    pitch: float
    throat: float
    tempo: float
    breath: float


@dataclass(frozen=True)
class SpokenWords(SoundTask):
    """2,000 recordings of ten made-up words by forty synthetic voices, 0.8 seconds at 8 kHz.

    A voice is a pitch with a contour, whose harmonics pass three formants that glide from sound to sound
    (Peterson & Barney's vowels, scaled to the length of the throat); consonants are bands of noise. Every
    take has another pitch, tempo, loudness and beginning, and background noise. Voices of the validation and
    of the test split speak in no other. A recipe says nothing of the samples, which may differ in their last
    bit between processors.

    Attributes:
        sample_rate: default 8000.
        seconds: default 0.8.
        window_ms: default 40.
        hop_ms: default 20.
        mels: default 32.
        mean: default -0.9.
        std: default 2.5.
        batch_size: default 64.
        shift_ms: default 50.
        noise: default 0.02.
        time_mask_ms: default 60.
        band_mask: default 4.
        quality: default ``accuracy``.
    """

    sample_rate: int = 8000
    seconds: float = 0.8
    window_ms: float = 40.0
    hop_ms: float = 20.0
    mels: int = 32
    mean: float = -0.9
    std: float = 2.5
    batch_size: int = 64
    shift_ms: float = 50.0
    noise: float = 0.02
    time_mask_ms: float = 60.0
    band_mask: int = 4
    quality: str = "accuracy"

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.sample_rate, self.seconds) != (8000, 0.8):
            raise ValueError(
                f"the voices speak at 8000 samples a second for 0.8 seconds, got sample_rate="
                f"{self.sample_rate} and seconds={self.seconds}"
            )

    @property
    def class_names(self) -> tuple[str, ...]:
        """The words."""
        return WORDS

    @property
    def outputs(self) -> int:
        """Ten words."""
        return len(WORDS)

    def load(self, directory: Path | None, *, download: bool = False) -> Arrays:
        """Speak the words, which takes some seconds; there is no directory to give.

        Raises:
            DataError: a directory was given.
        """
        if directory is not None:
            raise DataError(f"the spoken words come with the package; leave out --data (got {directory})")
        arrays: dict[str, np.ndarray] = {"noise": white_noise(10 * self.sample_rate)}
        random = np.random.RandomState(SEED)
        for split, voices in VOICES.items():
            labels = np.repeat(np.arange(len(WORDS)), voices * TAKES)
            cast = [_voice(random) for _ in range(voices)]
            sounds = [spoken(word, voice, random, self.samples) for word in WORDS for voice in cast * TAKES]
            arrays[f"{split}_sounds"] = np.stack(sounds)
            arrays[f"{split}_labels"] = labels.astype(np.int64)
        return arrays


def _voice(random: np.random.RandomState) -> Voice:
    throat = random.uniform(0.85, 1.2)
    pitch = 110 * 2 ** (2.2 * (throat - 0.85) + random.uniform(-0.2, 0.2))
    return Voice(pitch, throat, random.uniform(0.8, 1.25), random.uniform(0.002, 0.02))


def spoken(word: str, voice: Voice, random: np.random.RandomState, samples: int) -> np.ndarray:
    """One take of a word, int16, shape (samples,).

    Args:
        word: of the letters in :data:`FORMANTS` and :data:`NOISES`.
        voice: who speaks.
        random: drawn from for this take.
        samples: of the recording, a multiple of 40; the word begins early enough to end in it.
    """
    lengths = [
        max(3, round((26 if letter in FORMANTS else 14) * voice.tempo * random.uniform(0.85, 1.15)))
        for letter in word
    ]
    frames = samples // FRAME
    if sum(lengths) > frames - 4:
        lengths = [max(3, length * (frames - 4) // sum(lengths)) for length in lengths]
    start = random.randint(0, max(1, frames - sum(lengths)))
    formants, voiced, hissing = np.zeros((frames, 3)), np.zeros(frames), np.zeros((frames, 2))
    hiss, place = np.zeros(frames), start
    for letter, length in zip(word, lengths, strict=True):
        part = slice(place, min(place + length, frames))
        if letter in FORMANTS:
            formants[part] = voice.throat * np.array(FORMANTS[letter])
            voiced[part] = 1.0
        else:
            hissing[part], hiss[part] = NOISES[letter], 1.0
        place += length
    loud = 0.25 * 10 ** random.uniform(-0.6, 0.3)
    tone = _harmonics(_smoothed(_held(formants)), _smoothed(voiced), voice, random, samples)
    sound = loud * (tone + 0.35 * _hiss(hissing, _smoothed(hiss), random, samples))
    sound += voice.breath * random.standard_normal(samples)
    return np.clip(sound * 32767, -32768, 32767).astype(np.int16)


def _held(formants: np.ndarray) -> np.ndarray:
    """Formants of frames that have none are those before, or those that come first."""
    there = np.flatnonzero(formants[:, 0])
    nearest = there[np.clip(np.searchsorted(there, np.arange(len(formants)), "right") - 1, 0, None)]
    return np.asarray(formants[nearest])


def _smoothed(values: np.ndarray) -> np.ndarray:
    """Over seven frames, as a mouth moves."""
    kernel = np.hanning(9)[1:-1] / np.hanning(9).sum()
    padded = np.concatenate([values[:1]] * 3 + [values] + [values[-1:]] * 3)
    parts = [share * padded[place : place + len(values)] for place, share in enumerate(kernel)]
    return np.asarray(sum(parts))


def _harmonics(
    formants: np.ndarray, voiced: np.ndarray, voice: Voice, random: np.random.RandomState, samples: int
) -> np.ndarray:
    """The voice: multiples of its pitch below 3,900 Hz, as loud as the formants let them pass."""
    frames = len(voiced)
    fall = np.linspace(1.1, random.uniform(0.75, 1.0), frames)
    pitch = voice.pitch * random.uniform(0.92, 1.08) * fall
    count = max(1, int(3900 / pitch.max()))
    numbers = np.arange(1, count + 1)
    places = pitch[:, None] * numbers
    gains = np.zeros_like(places)
    for formant, width, gain in zip(formants.T, (80, 110, 170), (1.0, 0.6, 0.3), strict=True):
        gains += gain / (1 + ((places - formant[:, None]) / width) ** 2)
    gains *= voiced[:, None]
    at = np.arange(samples) / FRAME
    phase = 2 * np.pi * np.cumsum(np.interp(at, np.arange(frames), pitch)) / 8000
    waves = np.sin(phase[:, None].astype(np.float32) * numbers.astype(np.float32))
    # What is between two frames is as loud as both, each the less the farther it is.
    ends = np.stack([gains, np.concatenate([gains[1:], gains[-1:]])], 2).astype(np.float32)
    below, above = np.moveaxis(waves.reshape(frames, FRAME, count) @ ends, 2, 0)
    share = np.arange(FRAME) / FRAME
    return np.asarray(((1 - share) * below + share * above).ravel())


def _hiss(bands: np.ndarray, loudness: np.ndarray, random: np.random.RandomState, samples: int) -> np.ndarray:
    """Noise in the bands of the consonants, one after the other."""
    white = np.fft.rfft(random.standard_normal(samples))
    places = np.fft.rfftfreq(samples, 1 / 8000)
    sound, gains = np.zeros(samples), np.repeat(loudness, FRAME)[:samples]
    for low, high in {tuple(band) for band in bands if band[1]}:
        own = np.repeat((bands == (low, high)).all(1), FRAME)[:samples]
        passed = np.fft.irfft(np.where((places >= low) & (places <= high), white, 0), samples)
        sound[: len(own)] += passed[: len(own)] * own
    return sound * np.pad(gains, (0, samples - len(gains)))
