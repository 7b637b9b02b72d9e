"""Folders of recordings for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile


def tone(hz: float, seconds: float = 0.5, rate: int = 8000, channels: int = 1) -> np.ndarray:
    """A tone that swells, shape (samples, channels)."""
    at = np.arange(round(seconds * rate)) / rate
    samples = 0.4 * np.sin(2 * np.pi * hz * at) * np.hanning(len(at))
    return np.repeat(samples[:, None], channels, 1).astype(np.float32)


def write_sounds(
    folder: Path, classes: tuple[str, ...] = ("high", "low"), speakers: int = 4, takes: int = 2
) -> Path:
    """``folder/<class>/<speaker>_<take>.wav``; returns the folder."""
    for number, label in enumerate(classes):
        (folder / label).mkdir(parents=True, exist_ok=True)
        for speaker in range(speakers):
            for take in range(takes):
                hz = 400 + 200 * number + 20 * speaker + 5 * take
                path = folder / label / f"{'abcdefgh'[speaker] * 3}_{take}.wav"
                # The second class has overtones: pitch alone is lost where a network pools over bands.
                sound = sum(tone(hz * overtone) for overtone in range(1, 2 + 2 * number))
                soundfile.write(path, sound, 8000)
    return folder
