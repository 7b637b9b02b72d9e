"""Recordings: which are read, how they are split, what becomes of them and what is refused."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from spaces.architectures import FAMILIES
from studies.known import find_study
from studies.names import SOUND_ARCHITECTURES, StudyError
from tests.trainables.tasks.sound_files import tone, write_sounds
from trainables import methods
from trainables.models import DSCNN, GRU, TCResNet, TimeCNN
from trainables.models.base import Model
from trainables.models.gru import Recurrence
from trainables.optimizers import AdamW
from trainables.origins import Fresh
from trainables.runtime import load
from trainables.shipping.evaluation import evaluate_file, open_student
from trainables.tasks import SoundFolder, SpokenWords
from trainables.tasks.base import DataError
from trainables.tasks.log_mel import FLOOR, log_mel, mel_bands
from trainables.tasks.recordings import Recording, drawn_splits, fitted, list_recordings
from trainables.tasks.sound_augmentation import Spoiling, masked, spoiled
from trainables.tasks.spoken_words import SEED, WORDS, spoken
from trainables.tasks.spoken_words import _voice as voice
from trainables.teachers.sources import NoSources
from trainables.training.export_costs import exported
from trainables.training.trainer import Trainer

CPU = torch.device("cpu")
SMALL: list[Model] = [
    DSCNN(depth=1, width=0.2),
    TCResNet(width=0.25),
    TimeCNN(depth=2, width=0.2),
    GRU(width=0.1),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_sounds(tmp_path / "sounds")


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        (DSCNN(), 23_180),
        (TCResNet(), 65_168),
        (TCResNet(width=1.5), 144_264),
        (TCResNet(depth=2), 135_856),
        (TCResNet(depth=2, width=1.5), 303_000),
    ],
    ids=str,
)
def test_parameters_are_the_published_ones(model: Model, parameters: int) -> None:
    shape = (1, 40, 98) if isinstance(model, TCResNet) else (1, 10, 49)
    assert sum(each.numel() for each in model.build(shape, 12).parameters()) == parameters


def test_a_recurrence_is_that_of_torch() -> None:
    torch.manual_seed(0)
    own = Recurrence(5, 7)
    theirs: Any = torch.nn.GRU(5, 7, batch_first=True)
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(own.weight_ih)
        theirs.weight_hh_l0.copy_(own.weight_hh)
        theirs.bias_ih_l0.copy_(own.bias.normal_())
        theirs.bias_hh_l0.zero_()[14:].copy_(own.inner_bias.normal_())
    inputs = torch.randn(3, 6, 5)
    assert torch.allclose(own(inputs), theirs(inputs)[0], atol=1e-6)
    there = torch.arange(6) < torch.tensor([[6], [4], [1]])
    assert torch.allclose(own(inputs, there)[1, -1], theirs(inputs[1:2, :4])[0][0, -1], atol=1e-6)


def test_features_are_those_of_the_documented_code() -> None:
    """Beside the code of docs/data.md, which a device may use."""
    how = SpokenWords().features
    samples = (0.1 * np.random.default_rng(0).standard_normal(6400)).astype(np.float32)
    found = log_mel(torch.from_numpy(samples)[None], how)[0, 0].numpy()
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(how.window) / how.window)
    for frame in (0, 17, found.shape[1] - 1):
        piece = samples[frame * how.hop :][: how.window] * window
        energies = np.abs(np.fft.rfft(piece, how.fft)) ** 2 @ mel_bands(how)
        assert found[:, frame] == pytest.approx((np.log(energies + FLOOR) - how.mean) / how.std, abs=1e-4)
    assert found.shape == SpokenWords().input_shape[1:] == (32, how.frames(6400))


def test_bands_are_triangles_that_overlap_by_half() -> None:
    bands = mel_bands(SpokenWords().features._replace(mels=10))
    inside = bands.sum(1)[(bands.argmax(0)[0]) : (bands.argmax(0)[-1])]
    assert inside == pytest.approx(1.0) and bands.max() <= 1.0


def test_augmentation_depends_on_seed_view_and_number_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    sounds, noise = torch.randn(6, 400, generator=generator) / 8, torch.randn(900, generator=generator) / 8
    how, index = Spoiling(40, 0.5, 5, 3), torch.arange(6)
    whole = spoiled(sounds, noise, how, (3, 1), index)
    part = spoiled(sounds[4:5], noise, how, (3, 1), index[4:5])
    assert torch.equal(whole[4:5], part)
    assert not torch.equal(whole, spoiled(sounds, noise, how, (3, 2), index))
    assert torch.equal(sounds, spoiled(sounds, noise, Spoiling(0, 0.0, 0, 0), (3, 1), index))
    features = torch.ones(200, 1, 20, 30)
    hidden = masked(features, how, (0, 0), torch.arange(200)) == 0
    frames, bands = hidden.all(2).sum(2).flatten(), hidden.all(3).sum(2).flatten()
    assert set(frames.tolist()) == set(range(6)) and set(bands.tolist()) == set(range(4))


def test_a_shift_moves_silence_in() -> None:
    sounds = torch.ones(50, 100)
    moved = spoiled(sounds, torch.zeros(100), Spoiling(20, 0.0, 0, 0), (0, 0), torch.arange(50))
    kept = moved.sum(1)
    assert kept.min() >= 80 and len(kept.unique()) > 8
    assert ((moved[:, 0] == 0) | (moved[:, -1] == 0) | (kept == 100)).all()


def test_short_recordings_get_silence_and_long_ones_keep_what_is_loudest() -> None:
    assert fitted(np.ones(4, np.float32), 7).tolist() == [0, 1, 1, 1, 1, 0, 0]
    loud = np.concatenate([np.full(50, 0.1), np.ones(20), np.full(30, 0.1)]).astype(np.float32)
    assert fitted(loud, 20).tolist() == [1.0] * 20


def test_nobody_speaks_on_two_sides(folder: Path) -> None:
    task, notes = SoundFolder.examine(folder)
    assert (task.classes, task.sample_rate, task.outputs, notes.used) == (("high", "low"), 8000, 2, 16)
    found = list_recordings(folder)
    splits = drawn_splits(found.files, task.classes, "speakers")
    speakers = [{found.files[number].speaker for number in splits[split]} for split in splits]
    assert sum(map(len, speakers)) == len(set.union(*speakers)) == 4 and all(speakers)
    mixed = drawn_splits(found.files, task.classes, "recordings")
    assert {split: len(numbers) for split, numbers in mixed.items()} == {
        "train": 12, "validation": 2, "test": 2,
    }  # fmt: skip
    arrays = task.load(folder)
    assert arrays["train_sounds"].shape == (8, 8000) and arrays["test_labels"].tolist() == [0, 0, 1, 1]


def test_names_that_repeat_the_class_say_nothing_of_speakers(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for take in range(8):
            hz = 300 + 10 * take + 5 * (label == "dog")
            soundfile.write(tmp_path / label / f"{label}_{take}.wav", tone(hz), 8000)
    task, notes = SoundFolder.examine(tmp_path)
    assert len(task.load(tmp_path)["train_labels"]) == 12 and not notes.doubtful


def test_speakers_on_both_sides_are_told(folder: Path) -> None:
    _, apart = SoundFolder.examine(folder)
    _, mixed = SoundFolder.examine(folder, split="recordings")
    assert not apart.doubtful
    assert mixed.doubtful[0].kind == "speakers of validation or test who train, too"


def test_speech_commands_split_by_their_own_rule() -> None:
    names = [f"{number:08x}" for number in range(400)]
    files = [
        Recording("", label, f"{label}/{name}_nohash_0.wav") for label in ("no", "yes") for name in names
    ]
    splits = drawn_splits(files, ("no", "yes"), "speakers")
    for split, numbers in splits.items():
        for number in numbers:
            hashed = int(hashlib.sha1(files[number].speaker.encode()).hexdigest(), 16) & (2**27 - 1)
            share = hashed * (100.0 / (2**27 - 1))
            assert split == ("validation" if share < 10 else "test" if share < 20 else "train")
    assert 50 < len(splits["test"]) < 120


def test_lists_of_speech_commands_are_honoured(folder: Path) -> None:
    (folder / "validation_list.txt").write_text("high/aaa_0.wav\nlow/aaa_0.wav\n")
    with pytest.raises(DataError, match=r"no testing_list\.txt beside"):
        list_recordings(folder)
    (folder / "testing_list.txt").write_text("high/bbb_1.wav\nlow/zzz_1.wav\n")
    with pytest.raises(DataError, match=r"testing_list\.txt, line 2 names low/zzz_1\.wav, which is"):
        list_recordings(folder)
    (folder / "testing_list.txt").write_text("high/bbb_1.wav\nlow/bbb_1.wav\n")
    found = list_recordings(folder)
    splits = drawn_splits(found.files, found.classes, "speakers")
    assert [found.files[number].path for number in splits["test"]] == ["high/bbb_1.wav", "low/bbb_1.wav"]
    assert len(splits["train"]) == 12


def test_rates_channels_and_noise(folder: Path) -> None:
    soundfile.write(folder / "low" / "aaa_7.flac", tone(500, 0.5, 16_000, 2), 16_000)
    (folder / "_background_noise_").mkdir()
    soundfile.write(folder / "_background_noise_" / "rain.wav", tone(90, 2.0), 8000)
    task, notes = SoundFolder.examine(folder, seconds=0.4)
    changed = {tally.kind: tally.count for tally in notes.changed}
    assert changed == {"channels mixed": 1, "resampled from 16,000 Hz": 1, "cut to their loudest part": 17}
    assert task.load(folder)["noise"].shape == (16_000,) and task.classes == ("high", "low")
    with pytest.raises(DataError, match="are not those of the recipe"):
        replace(task, digest="0" * 16).load(folder)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (
            "garbage",
            r"low/bad_0\.wav cannot be read \(.*\); repair .*, or pass --skip-unreadable",
        ),
        ("empty", r"low/bad_0\.wav is empty"),
        ("silent", r"low/bad_0\.wav is silent"),
        ("no bytes", r"low/bad_0\.wav cannot be read"),
    ],
)
def test_recordings_that_are_of_no_use_are_told_or_skipped(folder: Path, kind: str, told: str) -> None:
    bad = folder / "low" / "bad_0.wav"
    if kind in ("garbage", "no bytes"):
        bad.write_bytes(b"RIFF and so on" if kind == "garbage" else b"")
    else:
        soundfile.write(bad, np.zeros(0 if kind == "empty" else 4000, np.float32), 8000)
    with pytest.raises(DataError, match=told):
        SoundFolder.examine(folder)
    task, notes = SoundFolder.examine(folder, skips=True)
    assert notes.used == 16 and notes.left_out[0].text == "recordings that are of no use (1: low/bad_0.wav)"
    assert sum(len(task.load(folder)[f"{split}_labels"]) for split in ("train", "validation", "test")) == 16


def test_what_is_no_folder_of_words_is_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(DataError, match="no class folders with recordings"):
        SoundFolder.examine(tmp_path / "sounds" / "low")
    (folder / "mid").mkdir()
    soundfile.write(folder / "mid" / "aaa_0.wav", tone(700), 8000)
    with pytest.raises(DataError, match=r"class 'mid' in .* has 1 recordings to train on; put at least 3"):
        SoundFolder.examine(folder)
    (folder / "mid" / "aaa_0.wav").unlink()
    (folder / "mid").rmdir()
    with pytest.raises(StudyError, match="--split is for recordings of your own"):
        find_study("keywords").make_task(None, {"split": "recordings"})
    with pytest.raises(StudyError, match="split must be one of 'speakers', 'recordings'"):
        find_study("keywords").make_task(folder, {"split": "people"})


def test_voices_say_words_that_can_be_told_apart() -> None:
    random = np.random.RandomState(SEED)
    task, speaker = SpokenWords(), voice(np.random.RandomState(1))
    takes = np.stack([spoken(word, speaker, random, 6400) for word in WORDS for _ in range(2)])
    assert takes.dtype == np.int16 and (np.abs(takes.astype(int)).max(1) > 500).all()
    again = np.random.RandomState(SEED)
    assert np.array_equal(takes[0], spoken(WORDS[0], speaker, again, 6400))
    features = log_mel(torch.from_numpy(takes).float() / 32768, task.features)
    assert bool(features.isfinite().all()) and features.shape[1:] == task.input_shape


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = write_sounds(tmp_path_factory.mktemp("tones"), takes=3)
    task, _ = SoundFolder.examine(folder, seconds=0.5, mels=16)
    return task, task.load(folder)


@pytest.mark.parametrize("model", SMALL, ids=lambda model: type(model).__name__)
def test_students_learn_and_ship_what_was_measured(model: Model, tones: Any) -> None:
    task, arrays = tones
    loaded = task.open(arrays, CPU, 0)
    given = methods.Setting(task, Fresh(model), epochs=25)
    trainer = Trainer(methods.full_precision(given, optimizer=AdamW(2e-2)), loaded, NoSources(), CPU)
    while not trainer.finished:
        trainer.train_epoch()
    accuracy = loaded.evaluate(trainer.student, "train")
    assert accuracy["accuracy"] > 0.9
    assert evaluate_file(trainer.ship(), loaded, "train") == accuracy


@pytest.mark.parametrize("model", SMALL, ids=lambda model: type(model).__name__)
def test_students_leave_as_onnx_in_whole_numbers(model: Model, tones: Any) -> None:
    task, arrays = tones
    loaded = task.open(arrays, CPU, 0)
    recipe = methods.quantization_aware_training(methods.Setting(task, Fresh(model), epochs=2))
    trainer = Trainer(recipe, loaded, NoSources(), CPU)
    while not trainer.finished:
        trainer.train_epoch()
    data = trainer.ship()
    _, network = open_student(data)
    session = load(exported(recipe, data, network))["network"]
    inputs = next(loaded.in_order("test")).inputs
    with torch.no_grad():
        expected = network(inputs).argmax(1)
    found = session({"input": inputs.numpy()})["output"].argmax(1)
    assert float((torch.from_numpy(found) == expected).float().mean()) > 0.8


def test_stopping_and_resuming_changes_no_bit(tones: Any, tmp_path: Path) -> None:
    task, arrays = tones

    def trainer() -> Trainer:
        given = methods.Setting(task, Fresh(SMALL[1]), epochs=4)
        return Trainer(methods.full_precision(given), task.open(arrays, CPU, 3), NoSources(), CPU)

    straight, stopped = trainer(), trainer()
    for _ in range(4):
        straight.train_epoch()
    stopped.train_epoch()
    stopped.train_epoch()
    stopped.save(tmp_path / "state")
    again = trainer()
    again.load(tmp_path / "state")
    again.train_epoch()
    again.train_epoch()
    assert again.ship() == straight.ship()


def test_architectures_of_sounds_are_known_by_name() -> None:
    study = find_study("keywords", about_data={"architectures": "ds_cnn,gru"})
    parameters: Any = study.space.parameters(study.context(SpokenWords(), "0" * 16, 0))
    assert parameters["start"].choices == ("ds_cnn", "gru") and "gru.width" in parameters
    assert set(SOUND_ARCHITECTURES) <= set(FAMILIES)
