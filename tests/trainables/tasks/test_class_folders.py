"""Layouts of folders, what lies in them beside images, and names that cannot be shown."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from trainables.tasks import folders
from trainables.tasks.base import DataError
from trainables.tasks.class_folders import BESIDE, CIRCLE, HIDDEN, Listing, list_images, split_of
from trainables.tasks.folders import BROKEN, NO_FILE
from trainables.tasks.notes import Tally


def fill(root: Path, *classes: str, count: int = 4) -> Path:
    """So many files a class that are named like images; nobody looks into them here."""
    for label in classes:
        (root / label).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (root / label / f"{number}.png").touch()
    return root


def listed(directory: Path) -> Listing:
    return list_images(directory, lambda paths: [False] * len(paths))


def tallies(listing: Listing) -> dict[str, int]:
    return {tally.kind: tally.count for tally in listing.left_out.all()}


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("train", "train Train TRAIN training Training train_set training-set traindata train_images"),
        ("test", "test Test TEST testing Testing test_set testset"),
        ("validation", "val Val VALID valid validation Validation dev DEV val_data development"),
        (None, "cat trainer trains tests testament value valve device valley contest latest"),
    ],
)
def test_names_of_splits(split: str | None, names: str) -> None:
    assert {split_of(name) for name in names.split()} == {split}


@pytest.mark.parametrize("names", [("train", "test"), ("Train", "TEST"), ("training", "valid", "testing")])
def test_splits_without_class_folders_are_no_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    fill(tmp_path / "pets", *names)
    with pytest.raises(DataError, match=r"holds no folders of classes, and a split is no class") as caught:
        listed(tmp_path / "pets")
    for layout in ("DIR/<class>/", "DIR/train/<class>/", "test and val"):
        assert layout in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_test_split_without_class_folders_says_the_layouts(tmp_path: Path) -> None:
    fill(fill(tmp_path, "test") / "train", "cat", "dog")
    with pytest.raises(DataError, match=r"test/? holds no images in class folders; .*DIR/train/<class>/"):
        listed(tmp_path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("test/cat", "test/dog"), r"holds test and no train, and a split is no class; .*DIR/<class>/"),
        (("bus", "car", "train"), r"both train and bus; .* another name if train is a class"),
        (
            ("train/cat", "train/test"),
            r"holds test, which is the name of a split and no class; .*DIR/<class>/",
        ),
        (("train/cat", "train/dog", "Training/cat", "Training/dog"), r"both Training and train; keep one"),
    ],
)
def test_other_uses_of_the_names_of_splits(tmp_path: Path, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        listed(fill(tmp_path, *names))


def test_splits_are_known_in_any_case_and_form(tmp_path: Path) -> None:
    for split in ("TRAIN", "Valid", "testing"):
        fill(tmp_path / split, "cat", "dog")
    listing = listed(tmp_path)
    assert listing.classes == ("cat", "dog") and listing.entered == ()
    assert {(file.split, file.path.split("/")[0]) for file in listing.files} == {
        ("train", "TRAIN"),
        ("validation", "Valid"),
        ("test", "testing"),
    }


@pytest.mark.parametrize("way", ["photos", "photos/photos", "a/b/c"])
def test_a_folder_whose_only_folder_holds_the_data_is_entered(tmp_path: Path, way: str) -> None:
    fill(tmp_path / way, "cat", "dog")
    (tmp_path / "readme.txt").touch()
    (tmp_path / "__MACOSX").mkdir()
    listing = listed(tmp_path)
    assert listing.entered == (way,) and listing.folder == tmp_path / way
    assert listing.classes == ("cat", "dog")
    assert listing.files[0].path == "cat/0.png"  # as if that folder had been given


def test_a_split_that_holds_itself_is_entered(tmp_path: Path) -> None:
    fill(tmp_path / "data" / "train" / "train", "cat", "dog")
    fill(tmp_path / "data" / "test", "cat", "dog")
    listing = listed(tmp_path)
    assert listing.entered == ("data", "data/train/train") and listing.classes == ("cat", "dog")


def test_folders_within_a_class_are_of_that_class(tmp_path: Path) -> None:
    fill(tmp_path, "cat/day", "cat/night/late", "cat", "dog")
    listing = listed(tmp_path)
    assert [file.label for file in listing.files] == ["cat"] * 12 + ["dog"] * 4
    assert tallies(listing) == {}


def test_what_is_left_out_is_counted_by_kind(tmp_path: Path) -> None:
    fill(tmp_path, "cat", "dog")
    (tmp_path / "cover.png").touch()
    for number in range(5):
        (tmp_path / "cat" / f"{number}.HEIC").touch()
    for name in ("labels.json", "noend", "._0.png", ".DS_Store", "Thumbs.db", "x.0001\u202e"):
        (tmp_path / "dog" / name).touch()
    (tmp_path / "dog" / ".cache").mkdir()
    (tmp_path / "dog" / "@eaDir").mkdir()
    listing = listed(tmp_path)
    assert len(listing.files) == 8
    assert listing.left_out.all() == (
        Tally(".heic files", 5, ("cat/0.HEIC", "cat/1.HEIC", "cat/2.HEIC")),
        Tally(HIDDEN, 2, ("dog/._0.png", "dog/.cache")),
        Tally(".json files", 1, ("dog/labels.json",)),
        Tally("files of other kinds", 1, ("dog/x.0001\\u202e",)),
        Tally("files without a suffix", 1, ("dog/noend",)),
        Tally(BESIDE, 1, ("cover.png",)),
    )


def test_a_class_of_which_nothing_is_used_says_what_was_left_out(tmp_path: Path) -> None:
    fill(tmp_path, "cat", "dog")
    (tmp_path / "fox").mkdir()
    for number in range(9):
        (tmp_path / "fox" / f"{number}.heic").touch()
    with pytest.raises(DataError, match=r"class 'fox' .* has 0 images .*left out: .heic files \(9: .*; put"):
        listed(tmp_path)


def test_links_pipes_and_sockets_neither_hang_nor_crash(tmp_path: Path) -> None:
    fill(tmp_path / "data", "cat", "dog")
    fill(tmp_path / "elsewhere", "more")
    cat = tmp_path / "data" / "cat"
    for name, target in {
        "up": "..",
        "here": ".",
        "root": str(tmp_path / "data"),
        "itself": "itself",
        "ping": "pong",
        "pong": "ping",
        "nowhere": "nowhere at all",
        "null": "/dev/null",
        "more": str(tmp_path / "elsewhere" / "more"),
        "again": str(tmp_path / "elsewhere" / "more"),
        "one.png": "0.png",
    }.items():
        (cat / name).symlink_to(target)
    os.mkfifo(cat / "pipe.png")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(cat / "s.png"))
        listing = listed(tmp_path / "data")
    assert len(listing.files) == 4 + 1 + 4 + 4  # in cat: its own, a link to one, those of a linked folder
    assert tallies(listing) == {CIRCLE: 4, BROKEN: 4, NO_FILE: 3}


def test_folders_that_link_to_one_another_are_read_once_a_class(tmp_path: Path) -> None:
    fill(tmp_path, "cat", "dog")
    for number in range(30):  # 2^30 ways through
        (tmp_path / "cat" / str(number)).mkdir()
    for number in range(29):
        for way in "ab":
            (tmp_path / "cat" / str(number) / way).symlink_to(tmp_path / "cat" / str(number + 1))
    listing = listed(tmp_path)
    assert len(listing.files) == 8 and tallies(listing)[CIRCLE] == 58


@pytest.mark.parametrize("link", ["a class that is the folder itself", "the only folder", "the folder"])
def test_circles_of_links_are_one_sentence(tmp_path: Path, link: str) -> None:
    data = tmp_path / "data"
    if link == "the folder":
        data.symlink_to(data)
    elif link == "the only folder":
        data.mkdir()
        (data / "photos").symlink_to(data)
    else:
        (fill(data, "cat") / "dog").symlink_to(data)
    with pytest.raises(DataError) as caught:
        listed(data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("closed", ["data", "data/cat", "data/cat/day", "data/train"])
def test_a_folder_that_cannot_be_read_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed: str
) -> None:
    if closed == "data/train":
        fill(tmp_path / "data" / "train", "cat", "dog")
    else:
        fill(tmp_path / "data", "cat", "cat/day", "dog")
    scandir = os.scandir

    def guarded(path: Path) -> os.ScandirIterator[str]:  # type: ignore[name-defined]
        if Path(path) == tmp_path / closed:  # as for others than root
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(folders.os, "scandir", guarded)
    with pytest.raises(
        DataError, match=rf"{closed}/? cannot be read \(Permission denied\); make it readable"
    ):
        listed(tmp_path / "data")


def test_names_of_classes_are_fit_to_be_shown(tmp_path: Path) -> None:
    names = ["caf\udce9", "evil\u202egnp", "new\nline", "plain caf\u00e9"]
    fill(tmp_path, *names)
    listing = listed(tmp_path)
    assert listing.classes == ("caf\\xe9", "evil\\u202egnp", "new\\x0aline", "plain caf\u00e9")
    "".join(listing.classes).encode()
    assert all((listing.folder / file.path).is_file() for file in listing.files)


def test_two_classes_that_read_alike_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, "caf\udce9", "caf\\xe9")
    with pytest.raises(DataError, match=r"two class folders whose names read alike, caf\\xe9; rename one"):
        listed(tmp_path)


def test_the_name_of_the_folder_itself_is_escaped_in_messages(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"caf\\xe9") as caught:
        listed(tmp_path / "caf\udce9")
    str(caught.value).encode()
