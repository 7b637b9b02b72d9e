"""A few samples of a task as they are shown: pictures, sounds or texts in a small file. Loads no torch."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import wave
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trainables.predictions import Classes
from trainables.sealed import sealed, unsealed

SAMPLES_FILE = "samples.json"
"""Lies in a sweep's folder of the store, and nowhere else: samples are the user's own data."""
MOST_BYTES = 2_000_000
"""Of the samples of one split."""
MOST_SAMPLES = 10_000
"""Of one split."""
LONGEST_SIDE = 96
"""Pixels of a picture; larger ones are made smaller."""
LONGEST_TEXT = 400
"""Characters."""
Kind = Literal["image", "sound", "text"]
KINDS: tuple[Kind, ...] = ("image", "sound", "text")
_BEGIN = {"image": b"\x89PNG\r\n\x1a\n", "sound": b"RIFF"}


@dataclass(frozen=True)
class Samples:
    """Samples of a task by their number within their split.

    Attributes:
        kind: what they are.
        classes: their names, by number; empty where they have none.
        splits: by split, of each sample a PNG picture, a WAV sound (bytes) or a text.
        marks: by split, :func:`mark_of` its true classes; who shows samples beside answers compares them.
    """

    kind: Kind
    classes: tuple[str, ...] = ()
    splits: Mapping[str, Mapping[int, bytes | str]] = field(default_factory=dict)
    marks: Mapping[str, str] = field(default_factory=dict)

    def name_of(self, number: int) -> str:
        """The name of a class, or its number where it has none."""
        return self.classes[number] if 0 <= number < len(self.classes) else str(number)


def mark_of(true: Classes) -> str:
    """16 hex digits of a hash of a split's true classes, by which samples and answers are told to belong."""
    return hashlib.sha256(true.astype("<i8").tobytes()).hexdigest()[:16]


def picture(pixels: NDArray[np.uint8]) -> bytes:
    """A PNG of at most :data:`LONGEST_SIDE` pixels a side.

    Args:
        pixels: shape (channels, height, width); of one channel or three, other ones are shown by their first.
    """
    from PIL import Image  # pages only read such files

    colour = len(pixels) == 3
    image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0) if colour else pixels[0]))
    if max(image.size) > LONGEST_SIDE:
        image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    written = io.BytesIO()
    image.save(written, "PNG")
    return written.getvalue()


def sound(values: NDArray[np.int16], rate: int) -> bytes:
    """A WAV of 16-bit samples, shape (samples,), of one channel."""
    written = io.BytesIO()
    with wave.open(written, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(values.astype("<i2").tobytes())
    return written.getvalue()


def samples_json(samples: Samples) -> bytes:
    """Samples as sealed JSON."""
    splits = {
        split: {str(number): _written(item) for number, item in items.items()}
        for split, items in samples.splits.items()
    }
    about = {"kind": samples.kind, "classes": list(samples.classes), "marks": dict(samples.marks)}
    return sealed({**about, "splits": splits})


def read_samples(data: bytes) -> Samples:
    """What :func:`samples_json` was given.

    Raises:
        ValueError: anything else; the message says in which way.
    """
    content = unsealed(data)
    kind, classes, marks, splits = (content.get(name) for name in ("kind", "classes", "marks", "splits"))
    if kind not in KINDS or not isinstance(splits, dict) or not isinstance(marks, dict):
        raise ValueError("it has no kind, no marks or no splits")
    named = isinstance(classes, list) and all(isinstance(name, str) for name in (*classes, *marks.values()))
    if not isinstance(classes, list) or not named:
        raise ValueError("its classes or marks are no names")
    found = {str(split): _read(kind, items) for split, items in splits.items()}
    return Samples(kind, tuple(classes), found, {str(split): mark for split, mark in marks.items()})


def _written(item: bytes | str) -> str:
    return item if isinstance(item, str) else base64.b64encode(item).decode()


def _read(kind: Kind, items: Any) -> dict[int, bytes | str]:
    if not isinstance(items, dict) or len(items) > MOST_SAMPLES:
        raise ValueError("a split has no samples, or too many")
    found: dict[int, bytes | str] = {}
    for number, text in items.items():
        if not (number.isascii() and number.isdigit() and len(number) < 10 and isinstance(text, str)):
            raise ValueError("a sample has no number, or is no text")
        if kind == "text":
            found[int(number)] = text
            continue
        try:
            item = base64.b64decode(text, validate=True)
        except (ValueError, binascii.Error) as error:
            raise ValueError(f"a sample cannot be decoded: {error}") from error
        # What is handed to a browser as a picture or a sound is one.
        if not item.startswith(_BEGIN[kind]) or (kind == "sound" and item[8:12] != b"WAVE"):
            raise ValueError(f"a sample is no {kind}")
        found[int(number)] = item
    return found
