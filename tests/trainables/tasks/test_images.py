"""Batches, loss and evaluation of image tasks."""

from __future__ import annotations

import importlib
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from trainables.data.keeping import keep
from trainables.data.sinks import put
from trainables.metrics import quality_of
from trainables.tasks import images
from trainables.tasks.augmentation import augment
from trainables.tasks.base import SPLITS, Arrays, DataError
from trainables.tasks.digits import Digits
from trainables.tasks.images import EVALUATION_BATCH_SIZE, LoadedImages, Scaling, normalise
from trainables.tasks.loaded_classes import SHARED_SEED
from trainables.torchvision_guard import import_torchvision

CPU = torch.device("cpu")


def arrays(train: int = 33, held_out: int = 7, classes: int = 3) -> dict[str, np.ndarray]:
    random = np.random.RandomState(0)
    made = {}
    for split, count in (("train", train), ("validation", held_out), ("test", held_out)):
        made[f"{split}_images"] = random.randint(0, 256, (count, 2, 6, 5), dtype=np.uint8)
        made[f"{split}_labels"] = random.randint(0, classes, count).astype(np.int64)
    return made


def opened(
    data: Arrays, seed: int = 0, batch_size: int = 8, padding: int = 1, flip: bool = True
) -> LoadedImages:
    return LoadedImages(data, CPU, seed, batch_size=batch_size, padding=padding, flip=flip)


@given(st.integers(2, 60), st.integers(2, 20))
def test_an_epoch_sees_each_sample_once_and_never_one_alone(count: int, batch_size: int) -> None:
    loaded = opened(arrays(train=count), batch_size=batch_size)
    batches = list(loaded.batches("train", 0))
    assert sorted(torch.cat([batch.index for batch in batches]).tolist()) == list(range(count))
    assert len(batches) == loaded.steps("train")
    assert all(2 <= len(batch.inputs) <= batch_size + 1 for batch in batches)


def test_an_input_is_named_by_view_and_index() -> None:
    data = arrays()
    for view, seed, number in ((None, 4, 3), (5, SHARED_SEED, 5)):
        for batch in opened(data, seed=4).batches("train", 3, view):
            assert batch.view == view
            images = torch.from_numpy(data["train_images"])[batch.index]
            again = augment(images, seed, number, batch.index, padding=1, flip=True)
            assert torch.equal(batch.inputs, normalise(again))
            assert torch.equal(batch.targets, torch.from_numpy(data["train_labels"])[batch.index])


def test_a_shared_view_is_the_same_for_every_seed_epoch_and_batch_size() -> None:
    data = arrays(train=EVALUATION_BATCH_SIZE + 3)
    whole = list(opened(data).in_order("train", 2))
    assert [len(batch.index) for batch in whole] == [EVALUATION_BATCH_SIZE, 3]
    inputs = torch.cat([batch.inputs for batch in whole])
    assert torch.equal(torch.cat([batch.index for batch in whole]), torch.arange(len(inputs)))
    assert {batch.view for batch in whole} == {2}
    for seed, epoch, batch_size in ((0, 0, 8), (1, 9, 64)):
        for batch in opened(data, seed=seed, batch_size=batch_size).batches("train", epoch, 2):
            assert torch.equal(batch.inputs, inputs[batch.index])
    assert (
        order(opened(data), 0) == torch.cat([b.index for b in opened(data).batches("train", 0, 2)]).tolist()
    )
    unseen = [torch.cat([b.inputs for b in opened(data).in_order("train", view)]) for view in (None, 3)]
    assert not any(torch.equal(inputs, other) for other in unseen)


def test_a_fingerprint_names_the_inputs_of_shared_views() -> None:
    data = arrays()
    ours = opened(data).fingerprint()
    assert len(ours) == 16
    assert ours == opened(data, seed=3, batch_size=5).fingerprint() == opened(arrays()).fingerprint()
    other = {**data, "train_images": data["train_images"].copy()}
    other["train_images"][0, 0, 0, 0] ^= 1
    turned = {**data, "train_images": np.ascontiguousarray(data["train_images"].swapaxes(2, 3))}
    differing = [opened(data, padding=2), opened(data, flip=False), opened(other), opened(turned)]
    assert len({ours, *(loaded.fingerprint() for loaded in differing)}) == 5
    assert opened({**data, "test_images": data["test_images"] ^ 1}).fingerprint() == ours


def test_a_fingerprint_does_not_depend_on_the_layout_in_memory() -> None:
    data = arrays()
    strided = np.asfortranarray(data["train_images"])
    assert opened({**data, "train_images": strided}).fingerprint() == opened(data).fingerprint()


def order(loaded: LoadedImages, epoch: int) -> list[int]:
    return torch.cat([batch.index for batch in loaded.batches("train", epoch)]).tolist()


def test_order_is_a_function_of_seed_and_epoch_alone() -> None:
    data = arrays()
    loaded = opened(data, seed=1)
    first = order(loaded, 0)
    torch.manual_seed(99)
    assert first == order(loaded, 0) == order(opened(data, seed=1), 0)
    assert first != order(loaded, 1)
    assert first != order(opened(data, seed=2), 0)


def test_iterating_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    list(opened(arrays()).batches("train", 0))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("split", ["validation", "test"])
def test_other_splits_come_in_order_and_unchanged(split: str) -> None:
    data = arrays(held_out=EVALUATION_BATCH_SIZE + 1)
    loaded = opened(data)
    for epoch in (0, 5):
        batches = list(loaded.batches(split, epoch))
        assert [len(batch.inputs) for batch in batches] == [EVALUATION_BATCH_SIZE, 1]
        assert len(batches) == loaded.steps(split)
        assert torch.equal(torch.cat([b.index for b in batches]), torch.arange(EVALUATION_BATCH_SIZE + 1))
        inputs = torch.cat([batch.inputs for batch in batches])
        expected = torch.from_numpy(data[f"{split}_images"]).double() / 255 * 2 - 1
        torch.testing.assert_close(inputs.double(), expected, rtol=0, atol=1e-7)
        assert {batch.view for batch in batches} == {None}


def test_inputs_span_minus_one_to_one_channels_last() -> None:
    inputs = normalise(torch.arange(256, dtype=torch.uint8).reshape(4, 4, 4, 4))
    assert inputs.dtype == torch.float32 and inputs.is_contiguous(memory_format=torch.channels_last)
    assert float(inputs.min()) == -1.0 and float(inputs.max()) == 1.0


def test_read_only_arrays_are_taken_quietly_and_not_written() -> None:
    data = arrays()
    for array in data.values():
        array.flags.writeable = False
    copies = {name: array.copy() for name, array in data.items()}
    torch.set_warn_always(True)  # or torch would warn once per process, perhaps in another test
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            loaded = opened(data)
            for split in ("train", "validation"):
                list(loaded.batches(split, 0))
    finally:
        torch.set_warn_always(False)
    assert all(np.array_equal(data[name], copies[name]) for name in data)


class Probe(nn.Module):
    """Answers with the class that a lookup of the first pixel says; notes how it was called."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.frozen = nn.BatchNorm2d(2)
        self.frozen.eval()
        self.seen: list[tuple[bool, bool]] = []

    def forward(self, inputs: Tensor) -> Tensor:
        self.seen.append((self.training, torch.is_inference_mode_enabled()))
        assert inputs.is_contiguous(memory_format=torch.channels_last)
        pixel = ((inputs[:, 0, 0, 0] + 1) * 127.5).round().long()
        return nn.functional.one_hot(pixel % self.classes, self.classes).float()


def test_accuracy_is_the_fraction_right_and_training_flags_come_back() -> None:
    data = arrays(held_out=600)
    probe = Probe(3)
    for split in ("train", "validation", "test"):
        result = opened(data).evaluate(probe, split)
        right = data[f"{split}_images"][:, 0, 0, 0] % 3 == data[f"{split}_labels"]
        assert result == {"accuracy": right.mean()}
        assert [each.name for each in quality_of(Digits().metric).reported] == [*result]
    assert set(probe.seen) == {(False, True)}
    assert probe.training and not probe.frozen.training


def test_training_flags_come_back_after_an_error() -> None:
    class Broken(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            raise RuntimeError("no")

    broken = Broken()
    with pytest.raises(RuntimeError, match="no"):
        opened(arrays()).evaluate(broken, "test")
    assert broken.training


def test_loss_is_cross_entropy_averaged_over_the_batch() -> None:
    batch = next(opened(arrays()).batches("validation", 0))
    logits = torch.randn(len(batch.targets), 3, dtype=torch.float64)
    p = np.exp(logits.numpy())
    p /= p.sum(1, keepdims=True)
    expected = -np.log(p[np.arange(len(p)), batch.targets.numpy()]).mean()
    assert float(opened(arrays()).loss(logits, batch)) == pytest.approx(expected, rel=1e-12)


def test_bad_arguments_name_the_value() -> None:
    loaded = opened(arrays())
    for call in (lambda: next(loaded.batches("dev", 0)), lambda: loaded.steps("dev")):
        with pytest.raises(ValueError, match="split='dev'"):
            call()
    with pytest.raises(ValueError, match="split='dev'"):
        loaded.evaluate(Probe(3), "dev")
    with pytest.raises(ValueError, match="batch_size=1"):
        Digits(batch_size=1)
    with pytest.raises(ValueError, match="padding=-1"):
        Digits(padding=-1)
    with pytest.raises(ValueError, match="float32"):
        opened(arrays() | {"test_images": np.zeros((7, 2, 6, 5), np.float32)})
    with pytest.raises(ValueError, match="one for each of 7 images"):
        opened(arrays() | {"test_labels": np.zeros(6, np.int64)})
    with pytest.raises(ValueError, match=r"\(1, 8, 8\), got \(2, 6, 5\)"):
        Digits().open(arrays(), CPU, 0)


def test_digits_are_the_published_images_in_fixed_stratified_splits() -> None:
    from sklearn.datasets import load_digits

    task = Digits()
    data = task.load(None)
    assert {name: len(array) for name, array in data.items() if name.endswith("images")} == {
        "train_images": 1077,
        "validation_images": 360,
        "test_images": 360,
    }
    published = load_digits()
    images = np.concatenate([data[f"{split}_images"] for split in ("train", "validation", "test")])
    labels = np.concatenate([data[f"{split}_labels"] for split in ("train", "validation", "test")])
    ours = sorted((image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True))
    theirs = np.rint(published.images * 255 / 16).astype(np.uint8)
    assert ours == sorted(
        (i.tobytes(), int(label)) for i, label in zip(theirs, published.target, strict=True)
    )
    for split in ("validation", "test"):
        shares = np.bincount(data[f"{split}_labels"]) / np.bincount(labels)
        assert np.all(np.abs(shares - 360 / 1797) < 1 / 170)
    assert images.shape[1:] == task.input_shape and set(labels) == set(range(task.outputs))
    # Written down once: a change of the splits would make old results incomparable.
    assert data["validation_labels"][:12].tolist() == [0, 2, 3, 5, 7, 1, 2, 3, 6, 7, 9, 1]


def test_digits_need_no_directory(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="leave out --data"):
        Digits().load(tmp_path)


def test_mapped_arrays_give_the_batches_of_those_in_memory_and_are_not_read_to_be_named(
    tmp_path, monkeypatch
):
    data = arrays()

    def make(sink):
        for name, array in data.items():
            put(sink, name, array)

    shipped = pickle.dumps(keep(tmp_path, "0" * 16, make, print))
    mapped, held = opened(pickle.loads(shipped)), opened(data)
    for split in SPLITS:
        for ours, theirs in zip(mapped.batches(split, 3), held.batches(split, 3), strict=True):
            assert torch.equal(ours.inputs, theirs.inputs) and torch.equal(ours.targets, theirs.targets)
    expected = held.fingerprint()
    monkeypatch.setattr(np, "ascontiguousarray", lambda array: pytest.fail("an array is read"))
    assert mapped.fingerprint() == expected


def test_large_images_are_measured_a_few_at_a_time():
    sizes = {side: images.evaluation_batch_size(side, side) for side in (8, 28, 32, 64, 224, 1024)}
    assert sizes == {8: 500, 28: 500, 32: 250, 64: 62, 224: 8, 1024: 8}


def test_inputs_are_scaled_as_torchvision_does_it() -> None:
    transforms = importlib.import_module(f"{import_torchvision().__name__}.transforms.functional")
    images = torch.randint(0, 256, (3, 3, 5, 4), dtype=torch.uint8)
    scaling = Scaling((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    expected = [
        transforms.normalize(each.float() / 255, list(scaling.mean), list(scaling.std)) for each in images
    ]
    found = normalise(images, scaling)
    assert torch.equal(found, torch.stack(expected)) and found.is_contiguous(
        memory_format=torch.channels_last
    )


def test_half_and_half_is_what_nothing_given_means() -> None:
    images = torch.arange(256, dtype=torch.uint8).reshape(4, 4, 4, 4)
    half = (0.5,) * 4
    assert torch.allclose(normalise(images, Scaling(half, half)), normalise(images), atol=1e-6)


def test_a_shared_view_of_other_scaling_is_another_one() -> None:
    data = arrays()

    def fingerprint(scaling: Scaling | None) -> str:
        return LoadedImages(data, CPU, 0, batch_size=8, padding=1, flip=False, scaling=scaling).fingerprint()

    found = {
        fingerprint(each) for each in (None, Scaling((0.5,) * 2, (0.5,) * 2), Scaling((0.4, 0.5), (0.5,) * 2))
    }
    assert len(found) == 3
