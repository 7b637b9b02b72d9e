"""Samples as they are shown: what tasks give, how they are kept, and what is refused where they are read."""

import io
import json
import wave
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trainables.samples import LONGEST_SIDE, Samples, mark_of, picture, read_samples, samples_json, sound
from trainables.sealed import sealed
from trainables.tasks import Digits, Grouped, ImageFolder, SentenceFolder, SpokenWords, Task
from trainables.tasks.spoken_words import WORDS
from trainables.tasks.vocabulary import learn

IMAGE = picture(np.zeros((1, 4, 4), dtype=np.uint8))


def test_what_is_kept_is_read_again() -> None:
    kept = Samples("image", ("a", "b"), {"test": {3: IMAGE, 17: IMAGE}}, {"test": mark_of(np.arange(3))})
    assert read_samples(samples_json(kept)) == kept
    texts = Samples("text", (), {"validation": {0: "<script>\u202e", 5: ""}})
    assert read_samples(samples_json(texts)) == texts and texts.name_of(4) == "4" and kept.name_of(1) == "b"


@pytest.mark.parametrize(
    "changed",
    [
        {"kind": "page"},
        {"classes": [1]},
        {"marks": {"test": 1}},
        {"marks": []},
        {"splits": []},
        {"splits": {"test": []}},
        {"splits": {"test": {"-1": "aGFsbG8="}}},
        {"splits": {"test": {"1": "no base64!"}}},
        {"splits": {"test": {"1": "aGFsbG8="}}},
        {"splits": {"test": {"1": 5}}},
        {"kind": "sound", "splits": {"test": {"1": "UklGRgAAAABBVkkg"}}},
    ],
)
def test_what_is_no_picture_and_no_sound_is_refused(changed: dict[str, Any]) -> None:
    whole = {"kind": "image", "classes": [], "marks": {}, "splits": {}}
    with pytest.raises(ValueError):
        read_samples(sealed({**whole, **changed}))


def test_a_changed_letter_is_damage() -> None:
    data = samples_json(Samples("text", (), {"test": {0: "good"}}))
    with pytest.raises(ValueError, match="checksum"):
        read_samples(data.replace(b"good", b"food"))


def test_large_pictures_are_made_smaller() -> None:
    pixels = np.zeros((3, 300, 600), dtype=np.uint8)
    pixels[0] = 255
    shown = Image.open(io.BytesIO(picture(pixels)))
    assert shown.size == (LONGEST_SIDE, LONGEST_SIDE // 2) and shown.getpixel((9, 9)) == (255, 0, 0)


def test_a_sound_is_the_recording() -> None:
    values = np.array([0, -32768, 32767, 12], dtype=np.int16)
    with wave.open(io.BytesIO(sound(values, 8000))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (8000, 1, 2)
        assert np.array_equal(np.frombuffer(file.readframes(9), dtype="<i2"), values)


def image_folder() -> tuple[Task, dict[str, np.ndarray]]:
    task = ImageFolder(("cat", "dog"), 3, (4, 4), "0" * 16)
    return task, {"test_images": np.arange(144, dtype=np.uint8).reshape(3, 3, 4, 4)}


def test_pictures_are_those_of_the_data() -> None:
    task, arrays = image_folder()
    shown = task.shown_samples(arrays, "test", np.array([2, 0]))
    assert shown is not None and shown.classes == ("cat", "dog") and list(shown.splits["test"]) == [2, 0]
    item = shown.splits["test"][2]
    assert isinstance(item, bytes)
    assert np.array_equal(
        np.asarray(Image.open(io.BytesIO(item))).transpose(2, 0, 1), arrays["test_images"][2]
    )
    digits = Digits()
    grey = {"test_images": np.full((1, 1, 8, 8), 7, dtype=np.uint8)}
    grouped = Grouped(digits, (0, 1) * 5).shown_samples(grey, "test", np.array([0]))
    assert grouped is not None and grouped == digits.shown_samples(grey, "test", np.array([0]))


def test_sounds_and_sentences_are_shown() -> None:
    sounds = {"test_sounds": np.ones((2, 6400), dtype=np.int16)}
    heard = SpokenWords().shown_samples(sounds, "test", np.array([1]))
    assert heard is not None and heard.kind == "sound" and heard.classes == WORDS
    assert heard.splits["test"][1] == sound(sounds["test_sounds"][1], 8000)
    lines = [f"what is the answer to question {number}" for number in range(30)]
    task = SentenceFolder(("bad", "good"), "0" * 16, 32, vocabulary_size=60, subwords="bpe")
    vocabulary = learn(lines, 60, "bpe")
    from trainables.tasks.vocabulary import Vocabulary

    tokens = np.stack([task.numbered(Vocabulary(vocabulary), line) for line in lines])
    read = task.shown_samples({"vocabulary": vocabulary, "test_tokens": tokens}, "test", np.array([7]))
    assert read is not None and read.splits["test"] == {7: lines[7]}
    assert json.loads(samples_json(read))["splits"]["test"]["7"] == lines[7]
