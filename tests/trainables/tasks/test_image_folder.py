"""Users' own folders of images."""

from __future__ import annotations

import dataclasses
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainables.data import telling
from trainables.data.kept import KeptArrays
from trainables.part import part_from_dict
from trainables.tasks import image_folder
from trainables.tasks.base import DataError
from trainables.tasks.image_folder import ImageFolder
from trainables.tasks.notes import DataNotes, Tally
from trainables.tasks.pictures import ALPHA, DEEP


def write(
    path: Path, size: tuple[int, int] = (8, 6), mode: str = "RGB", seed: int | None = None
) -> np.ndarray:
    """One image of (height, width); its name seeds its pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.RandomState(zlib.crc32(path.name.encode()) if seed is None else seed)
    pixels = random.randint(0, 256, (*size, 3) if mode == "RGB" else size, dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return pixels


def fill(root: Path, count: int = 10, **kwargs: object) -> Path:
    for label in ("cat", "dog"):
        for i in range(count):
            write(root / label / f"{label}{i}.png", **kwargs)  # type: ignore[arg-type]
    return root


def pixels_of(path: Path) -> bytes:
    return np.asarray(Image.open(path)).transpose(2, 0, 1).tobytes()


def test_a_plain_folder_is_split_by_class(tmp_path: Path) -> None:
    fill(tmp_path, count=20)
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    (tmp_path / ".git").mkdir()
    (tmp_path / "README").write_text("no class")
    task = ImageFolder.scan(tmp_path)
    assert (task.classes, task.channels, task.image_size) == (("cat", "dog"), 3, (8, 6))
    assert task.input_shape == (3, 8, 6) and task.outputs == 2
    data = task.load(tmp_path)
    assert {
        split: np.bincount(data[f"{split}_labels"]).tolist() for split in ("train", "validation", "test")
    } == {
        "train": [14, 14],
        "validation": [3, 3],
        "test": [3, 3],
    }
    seen = {}
    for split in ("train", "validation", "test"):
        for image, label in zip(data[f"{split}_images"], data[f"{split}_labels"], strict=True):
            seen[image.tobytes()] = int(label)
    expected = {
        pixels_of(p): i for i, label in enumerate(("cat", "dog")) for p in (tmp_path / label).glob("*.png")
    }
    assert seen == expected and len(seen) == 40


@pytest.mark.parametrize("validation", ["val", "validation", None])
def test_given_splits_are_kept(tmp_path: Path, validation: str | None) -> None:
    names = {"train": "train", "test": "test"} | ({"validation": validation} if validation else {})
    for split, folder in names.items():
        for label in ("a", "b"):
            for i in range(7):
                write(tmp_path / folder / label / f"{split}{label}{i}.png")
    data = ImageFolder.scan(tmp_path).load(tmp_path)
    for split, folder in names.items():
        given = {pixels_of(path) for path in (tmp_path / folder).rglob("*.png")}
        ours = {image.tobytes() for image in data[f"{split}_images"]}
        assert ours == given if validation or split == "test" else ours < given
    assert len(data["train_labels"]) == (14 if validation else 12)
    assert len(data["validation_labels"]) == (14 if validation else 2)


def test_it_survives_json_and_repeats_itself(tmp_path: Path) -> None:
    fill(tmp_path)
    task = ImageFolder.scan(tmp_path)
    assert part_from_dict(json.loads(json.dumps(task.to_dict())), {"ImageFolder": ImageFolder}) == task
    assert ImageFolder.scan(tmp_path) == task
    one, two = task.load(tmp_path), task.load(tmp_path)
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_grey_images_have_one_channel_and_one_colour_image_makes_three(tmp_path: Path) -> None:
    fill(tmp_path, mode="L")
    write(tmp_path / "cat" / "bitmap.png", mode="1")
    task = ImageFolder.scan(tmp_path)
    assert task.input_shape == (1, 8, 6)
    data = task.load(tmp_path)
    grey = np.asarray(Image.open(tmp_path / "cat" / "cat0.png"))
    assert any(
        np.array_equal(image[0], grey)
        for split in ("train", "validation", "test")
        for image in data[f"{split}_images"]
    )
    write(tmp_path / "dog" / "colour.png", mode="RGB")
    assert ImageFolder.scan(tmp_path).channels == 3


@pytest.mark.parametrize("suffix", ["bmp", "jpeg", "JPG", "png", "ppm", "webp"])
def test_formats(tmp_path: Path, suffix: str) -> None:
    fill(tmp_path)
    for i in range(3):
        write(tmp_path / "fox" / f"{i}.{suffix}")
    data = ImageFolder.scan(tmp_path).load(tmp_path)
    assert sum(int((data[f"{split}_labels"] == 2).sum()) for split in ("train", "validation", "test")) == 3


def test_the_digest_tells_folders_apart(tmp_path: Path) -> None:
    task = ImageFolder.scan(fill(tmp_path))
    (tmp_path / "cat" / "cat0.png").rename(tmp_path / "cat" / "renamed.png")
    renamed = ImageFolder.scan(tmp_path)
    write(tmp_path / "cat" / "renamed.png", seed=12345)
    repainted = ImageFolder.scan(tmp_path)
    assert len({task.digest, renamed.digest, repainted.digest}) == 3
    with pytest.raises(DataError, match="not those of the recipe"):
        task.load(tmp_path)
    repainted.load(tmp_path)


def test_images_of_different_sizes_need_a_size(tmp_path: Path) -> None:
    fill(tmp_path)
    write(tmp_path / "dog" / "big.png", size=(12, 12))
    with pytest.raises(DataError, match=r"cat/cat0.png is 8x6 and dog/big.png is 12x12.*--image-size"):
        ImageFolder.scan(tmp_path)
    task = ImageFolder.scan(tmp_path, image_size=(6, 8), batch_size=16, padding=0, flip=True)
    assert (task.input_shape, task.batch_size, task.padding, task.flip) == ((3, 6, 8), 16, 0, True)
    data = task.load(tmp_path)
    assert data["train_images"].shape[1:] == (3, 6, 8)
    resized = Image.open(tmp_path / "dog" / "big.png").resize((8, 6), Image.Resampling.BILINEAR)
    expected = np.asarray(resized).transpose(2, 0, 1)
    everything = np.concatenate([data[f"{split}_images"] for split in ("train", "validation", "test")])
    assert (everything == expected).all(axis=(1, 2, 3)).sum() == 1


def broken(case: str, root: Path) -> Path:
    """A directory with the fault ``case``."""
    if case == "missing":
        return root / "absent"
    if case == "file":
        (root / "file").write_text("")
        return root / "file"
    if case == "one class":
        for i in range(5):
            write(root / "cat" / f"{i}.png")
        return root
    if case == "empty":
        return root
    fill(root / "train" if "split" in case else root)
    if case == "few":
        write(root / "fox" / "0.png")
    elif case == "no image":
        (root / "cat" / "zebra.png").write_bytes(b"no image")
    elif case == "floats":
        Image.new("F", (6, 8)).save(root / "cat" / "deep.tif")
    elif case == "tiny":
        fill(root, size=(2, 2))
    elif case == "split: unknown test class":
        write(root / "test" / "fox" / "0.png")
    elif case == "split: stray":
        write(root / "fox" / "0.png")
    elif case == "split: empty test":
        (root / "test").mkdir()
    elif case == "split: val twice":
        fill(root / "val")
        fill(root / "validation")
    return root


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("missing", r"no directory .*absent; pass --data DIR"),
        ("file", r"not a directory; pass --data DIR"),
        ("empty", r"no class folders; put"),
        ("one class", r"only one class, 'cat'; put"),
        ("few", r"class 'fox' .* has 1 images .* put at least 3"),
        ("no image", r"cat/zebra.png cannot be decoded .*repair or remove"),
        ("floats", r"cat/deep.tif has pixels .* convert it to 8 or 16 bits"),
        ("tiny", r"2x2, outside 4 to 1024 pixels a side; pass --image-size"),
        ("split: unknown test class", r"test/fox/0.png is of a class .* add 'fox' to train"),
        ("split: stray", r"holds both train and fox; beside train put only test and val"),
        ("split: empty test", r"test.* holds no images .* fill it or remove it"),
        ("split: val twice", r"both val and validation; keep one"),
    ],
)
def test_unusable_folders_say_what_to_do(tmp_path: Path, case: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        ImageFolder.scan(broken(case, tmp_path))
    assert "\n" not in str(caught.value)


def test_a_truncated_image_is_named(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        for i in range(4):
            write(tmp_path / label / f"{i}.jpg", size=(64, 64))
    file = tmp_path / "dog" / "2.jpg"
    file.write_bytes(file.read_bytes()[:1500])
    task = ImageFolder.scan(tmp_path)
    with pytest.raises(DataError, match=r"dog/2.jpg cannot be decoded .*truncated"):
        task.load(tmp_path)
    with pytest.raises(DataError, match="pass --data DIR"):
        task.load(None)


def test_fields_are_checked() -> None:
    good = {"classes": ("a", "b"), "channels": 3, "image_size": (8, 8), "digest": "0123456789abcdef"}
    ImageFolder(**good)  # type: ignore[arg-type]
    for change in (
        {"classes": ("a",)},
        {"classes": ("b", "a")},
        {"classes": ("a", "a")},
        {"classes": ("", "a")},
        {"classes": ("a", "caf\udce9")},
        {"classes": ("a", "b\u202e")},
        {"channels": 2},
        {"image_size": (8, 3)},
        {"image_size": (8, 100_000)},
        {"digest": "xyz"},
        {"batch_size": 0},
    ):
        with pytest.raises(ValueError, match=next(iter(change))):
            ImageFolder(**(good | change))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="image_size"):
        ImageFolder.scan(Path("anywhere"), image_size=(0, 5))


def test_nothing_is_said_of_plain_images(tmp_path: Path) -> None:
    task, notes = ImageFolder.examine(fill(tmp_path))
    assert task == ImageFolder.scan(tmp_path)
    assert notes == DataNotes(used=20) and notes.sentences == ()


def test_images_in_subfolders_and_of_other_formats_are_used(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        for number in range(3):
            name = f"{label}{number}"
            write(tmp_path / label / f"{name}.png")
            write(tmp_path / label / "day" / f"{name}.tif")
            write(tmp_path / label / "night" / "late" / f"{name}.gif")
            write(tmp_path / label / f"{name}.jpg").tofile(tmp_path / label / f"pixels{number}.txt")
            (tmp_path / label / f"{name}.jpg").rename(tmp_path / label / f"photograph{number}")
    task, notes = ImageFolder.examine(tmp_path)
    data = task.load(tmp_path)
    assert sum(len(data[f"{split}_labels"]) for split in ("train", "validation", "test")) == 24
    examples = ("cat/pixels0.txt", "cat/pixels1.txt", "cat/pixels2.txt")
    assert notes == DataNotes(used=24, left_out=(Tally(".txt files", 6, examples),))


def test_entering_the_only_folder_changes_neither_task_nor_pixels(tmp_path: Path) -> None:
    task = ImageFolder.scan(fill(tmp_path / "photos" / "photos"))
    outer, notes = ImageFolder.examine(tmp_path)
    assert outer == task and notes.entered == ("photos/photos",)
    assert notes.sentences == ("read from: photos/photos",)
    ours, theirs = task.load(tmp_path), task.load(tmp_path / "photos" / "photos")
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


def test_ink_on_nothing_is_no_black_square(tmp_path: Path) -> None:
    for label in ("a", "b"):
        for number in range(10):
            ink = np.zeros((16, 16, 4), np.uint8)
            ink[number, 2:14, 3] = 255
            (tmp_path / label).mkdir(exist_ok=True)
            Image.fromarray(ink if label == "a" else ink.transpose(1, 0, 2).copy()).save(
                tmp_path / label / f"{number}.png"
            )
    task, notes = ImageFolder.examine(tmp_path)
    data = task.load(tmp_path)
    images = np.concatenate([data[f"{split}_images"] for split in ("train", "validation", "test")])
    assert len({image.tobytes() for image in images}) == 20
    assert images.max() == 255 and images.min() == 0
    assert notes.changed == (Tally(ALPHA, 20, ("a/0.png", "a/1.png", "a/2.png")),) and not notes.doubtful


def test_turned_images_are_of_the_size_in_which_they_are_seen(tmp_path: Path) -> None:
    fill(tmp_path, size=(8, 6))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 6), "red").save(tmp_path / "cat" / "turned.jpg", exif=exif)  # 6 high, 8 wide
    task, notes = ImageFolder.examine(tmp_path)
    assert task.image_size == (8, 6) and notes.changed[0].examples == ("cat/turned.jpg",)
    assert task.load(tmp_path)["train_images"].shape[1:] == (3, 8, 6)


def test_16_bit_images_are_as_grey_as_those_of_8(tmp_path: Path) -> None:
    fill(tmp_path, mode="L")
    Image.fromarray(np.full((8, 6), 32_896, np.uint16)).save(tmp_path / "cat" / "deep.png")
    task, notes = ImageFolder.examine(tmp_path)
    assert task.channels == 1 and notes.changed == (Tally(DEEP, 1, ("cat/deep.png",)),)
    data = task.load(tmp_path)
    everything = np.concatenate([data[f"{split}_images"] for split in ("train", "validation", "test")])
    assert (everything == 128).all(axis=(1, 2, 3)).sum() == 1


def test_classes_of_equal_images_are_said(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "black").mkdir()
    for number in range(4):  # different bytes, the same pixels
        Image.new("RGB", (6, 8)).save(tmp_path / "black" / f"{number}.png", compress_level=number)
    (tmp_path / "white").mkdir()
    for number in range(4):  # different only in what is not seen
        pixels = np.zeros((8, 6, 4), np.uint8)
        pixels[..., 0] = number
        Image.fromarray(pixels).save(tmp_path / "white" / f"{number}.png")
    _, notes = ImageFolder.examine(tmp_path)
    assert Tally("classes whose images are all equal", 2, ("black", "white")) in notes.doubtful


def test_only_as_many_images_are_decoded_as_it_takes_to_see_that_they_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, count=50)
    decoded = []

    def read_pixels(name: str, *rest: object) -> np.ndarray:
        decoded.append(name)
        return real(name, *rest)  # type: ignore[arg-type]

    real = image_folder.read_pixels
    monkeypatch.setattr(image_folder, "read_pixels", read_pixels)
    ImageFolder.scan(tmp_path)
    assert sorted(decoded) == ["cat/cat0.png", "cat/cat1.png", "dog/dog0.png", "dog/dog1.png"]


def test_copies_across_splits_and_classes_are_said(tmp_path: Path) -> None:
    fill(tmp_path / "train")
    fill(tmp_path / "test", count=4)  # of the same names, hence pixels
    write(tmp_path / "test" / "dog" / "new.png")
    (tmp_path / "train" / "dog" / "cat9.png").write_bytes(
        (tmp_path / "train" / "cat" / "cat9.png").read_bytes()
    )
    _, notes = ImageFolder.examine(tmp_path)
    copies = tuple(f"test/cat/cat{n}.png is train/cat/cat{n}.png" for n in range(3))
    assert Tally("test images that the training split has, too", 8, copies) in notes.doubtful
    example = "train/dog/cat9.png is train/cat/cat9.png"
    assert Tally("images that another class has, too", 1, (example,)) in notes.doubtful


def test_copies_across_drawn_splits_are_those_of_the_arrays(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        for number in range(20):
            write(tmp_path / label / f"{number}.png", seed=number // 2 if label == "cat" else 100 + number)
    task, notes = ImageFolder.examine(tmp_path)
    data = task.load(tmp_path)
    trained = {image.tobytes() for image in data["train_images"]}
    for split in ("validation", "test"):
        expected = sum(image.tobytes() in trained for image in data[f"{split}_images"])
        kind = f"{split} images that the training split has, too"
        assert expected and [tally.count for tally in notes.doubtful if tally.kind == kind] == [expected]


def test_class_names_that_are_not_utf_8_are_escaped_and_found_on_disk(tmp_path: Path) -> None:
    for label in ("caf\udce9", "tea\u202e"):
        for number in range(6):
            write(tmp_path / label / f"{label}{number}.png", seed=number + len(label))
    task = ImageFolder.scan(tmp_path)
    assert task.classes == ("caf\\xe9", "tea\\u202e")
    json.dumps(task.to_dict(), ensure_ascii=False).encode()
    assert len(task.load(tmp_path)["train_labels"]) == 8


def test_files_that_cannot_be_read_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path)

    def closed(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", closed)
    with pytest.raises(
        DataError, match=r"cat/cat0.png cannot be read \(Permission denied\); make it readable"
    ):
        ImageFolder.scan(tmp_path)


def test_pillow_warns_nobody(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    fill(tmp_path)
    image = Image.new("P", (6, 8))
    image.save(tmp_path / "cat" / "palette.png", transparency=bytes(range(256)))
    broken = b"Exif\0\0MM\0*\0\0\0\x08\0\x05"
    Image.new("RGB", (6, 8)).save(tmp_path / "dog" / "tags.png", exif=broken)
    task = ImageFolder.scan(tmp_path)
    task.load(tmp_path)
    assert not list(recwarn)


def test_images_are_decoded_once_for_all_sweeps_of_a_store(tmp_path, monkeypatch):
    task = ImageFolder.scan(fill(tmp_path / "images"))
    lines: list[str] = []
    expected = task.load(tmp_path / "images")
    kept = task.load_kept(tmp_path / "images", tmp_path / "store", lines.append)
    monkeypatch.setattr(ImageFolder, "_decode", lambda *arguments: pytest.fail("they are decoded"))
    other = dataclasses.replace(task, batch_size=4, flip=True)  # what the pixels do not depend on
    again = other.load_kept(tmp_path / "images", tmp_path / "store", lines.append)
    assert isinstance(kept, KeptArrays) and not lines
    for name, array in expected.items():
        assert np.array_equal(kept[name], array) and np.array_equal(again[name], array)


def test_images_of_another_size_or_content_are_other_data(tmp_path):
    folder = fill(tmp_path / "images")
    ImageFolder.scan(folder).load_kept(folder, tmp_path / "store", print)
    ImageFolder.scan(folder, (4, 4)).load_kept(folder, tmp_path / "store", print)
    write(folder / "cat" / "cat0.png", seed=1)
    ImageFolder.scan(folder).load_kept(folder, tmp_path / "store", print)
    assert len([path for path in (tmp_path / "store" / "data").iterdir() if path.is_dir()]) == 3


def test_progress_is_told_while_decoding(tmp_path, monkeypatch):
    monkeypatch.setattr(telling, "TELL_SECONDS", 0.0)
    lines: list[str] = []
    folder = fill(tmp_path / "images")
    ImageFolder.scan(folder).load_kept(folder, tmp_path / "store", lines.append)
    assert lines == ["decoding images: 20 of 20"]


def test_large_images_have_small_batches_unless_a_size_is_given(tmp_path):
    folder = fill(tmp_path, count=3, size=(224, 224))
    assert ImageFolder.scan(folder).batch_size == 16
    assert ImageFolder.scan(folder, batch_size=50).batch_size == 50
    assert ImageFolder.scan(folder, (32, 32)).batch_size == 128


def test_a_store_beside_the_class_folders_is_no_class(tmp_path: Path) -> None:
    """As with ``--data .``, whose store lies in the same folder; also one that so far has data alone."""
    task = ImageFolder.scan(fill(tmp_path, count=20))
    (tmp_path / "rayduce-store" / "sweeps").mkdir(parents=True)
    (tmp_path / "rayduce-store" / "teachers").mkdir()
    write(tmp_path / "rayduce-store" / "artifacts" / "front.png")
    (tmp_path / "other" / "data" / ("0" * 16)).mkdir(parents=True)
    (tmp_path / "other" / "data" / ("0" * 16) / "manifest.json").write_text("{}")
    assert ImageFolder.scan(tmp_path) == task
