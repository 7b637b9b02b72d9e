"""Arrays in the store: whole or not at all, checked, made again, and one copy for all processes."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from trainables.data import keeping, kept
from trainables.data.errors import DataError
from trainables.data.keeping import CannotKeep, keep, keep_large, keep_or_hold
from trainables.data.kept import Joined, KeptArrays, checksum_of, sha256_of, touched
from trainables.data.sinks import Sink, put
from trainables.sealed import sealed, unsealed

KEY = "0123456789abcdef"
DATA: dict[str, np.ndarray] = {
    "train/input": np.random.RandomState(0).randint(0, 256, (50, 3, 8, 8)).astype(np.uint8),
    "train/target": np.arange(50),
    "flags": np.array([True, False]),
    "scalar": np.array(2.5, np.float32),
    "none": np.empty((0, 3), np.int32),
}


def make(sink: Sink) -> None:
    for name, array in DATA.items():
        put(sink, name, array)


def never(sink: Sink) -> None:
    raise AssertionError("it is there already")


def said() -> list[str]:
    return []


def same(arrays: object) -> bool:
    assert isinstance(arrays, (KeptArrays, dict))
    return list(arrays) == list(DATA) and all(
        np.array_equal(arrays[name], array) and arrays[name].dtype == array.dtype
        for name, array in DATA.items()
    )


def test_what_is_kept_is_mapped_read_only_and_made_once(tmp_path):
    lines = said()
    assert same(keep(tmp_path / "store", KEY, make, lines.append))
    arrays = keep(tmp_path / "store", KEY, never, lines.append)
    assert same(arrays) and not lines and len(arrays) == 5 and "other" not in arrays
    with pytest.raises(ValueError, match="read-only"):
        arrays["train/input"][0] = 1
    with pytest.raises(KeyError):
        arrays["other"]
    assert sorted(path.name for path in (tmp_path / "store" / "data").iterdir()) == [KEY, f"{KEY}.lock"]
    plain = np.load(arrays.folder / "0.npy")  # anybody can read them
    assert np.array_equal(plain, DATA["train/input"])


def test_it_travels_as_a_path(tmp_path):
    arrays = keep(tmp_path, KEY, make, print)
    data = pickle.dumps(arrays)
    assert len(data) < 1000 and same(pickle.loads(data))


def test_names_of_the_content_are_those_of_the_same_arrays_in_memory(tmp_path):
    arrays = keep(tmp_path, KEY, make, print)
    assert checksum_of(arrays) == checksum_of(DATA)
    for name in DATA:
        assert sha256_of(arrays, name) == sha256_of(DATA, name)
    joined = Joined({"flags": np.zeros(1)}, arrays)
    assert sha256_of(joined, "train/input") == sha256_of(DATA, "train/input")
    assert len(joined["flags"]) == 1 and len(joined) == 5 and set(joined) == set(DATA)


def test_pages_are_let_go_of_and_read_again(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "MOST_TOUCHED", 4000)
    arrays = keep(tmp_path, KEY, make, print)
    for _ in range(3):
        assert same(arrays)
        touched(arrays, 5000, 1)


def flip(path: Path, place: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def link_out(path: Path) -> None:
    shutil.move(path, path.parents[2] / "outside")
    path.symlink_to(path.parents[2] / "outside")


def no_folder(path: Path) -> None:
    shutil.rmtree(path.parent)
    path.parent.touch()


def foreign(path: Path) -> None:
    path.with_name("manifest.json").write_bytes(sealed({"version": 2, "arrays": []}))


def outside(path: Path) -> None:
    content = unsealed(path.with_name("manifest.json").read_bytes())
    content["arrays"][0]["file"] = "../../../outside.npy"
    path.with_name("manifest.json").write_bytes(sealed(content))


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (flip, "the content of train/input has changed"),
        (lambda path: flip(path, 20), "0.npy is of another type or shape"),
        (truncate, "0.npy has another length"),
        (lambda path: path.unlink(), "No such file"),
        (lambda path: flip(path.with_name("manifest.json"), 30), "made again: ."),
        (lambda path: path.with_name("manifest.json").write_text("[]"), "it has no checksum"),
        (lambda path: path.with_name("manifest.json").write_text("{"), ""),
        (foreign, "its manifest is not of version 1"),
        (outside, "its manifest says something else of train/input"),
        (link_out, "it is a link|Too many levels"),
        (lambda path: link_out(path.parent), "it is a link|Too many levels|damaged"),
        (no_folder, "Not a directory"),
    ],
)
def test_what_is_damaged_is_set_aside_and_made_again_in_one_sentence(tmp_path, damage, why):
    store = tmp_path / "store"
    folder = keep(store, KEY, make, print).folder
    damage(folder / "0.npy")
    lines = said()
    assert same(keep(store, KEY, make, lines.append))
    [line] = lines
    assert line.startswith(f"the kept data in {folder} are made again: ") and "\n" not in line
    assert re.search(why, line)
    assert os.path.lexists(folder.with_name(f"{KEY}.damaged"))
    damage(folder / "0.npy")  # only the last one is set aside
    assert same(keep(store, KEY, make, print))
    assert len(list((store / "data").iterdir())) == 3 and same(keep(store, KEY, never, print))


def test_a_process_that_began_with_other_content_does_not_go_on_with_it(tmp_path):
    arrays = pickle.dumps(keep(tmp_path, KEY, make, print))
    shutil.rmtree(tmp_path / "data" / KEY)
    with pytest.raises(DataError, match=r"cannot be used .* go on with the sweep"):
        pickle.loads(arrays)["flags"]
    keep(tmp_path, KEY, lambda sink: put(sink, "flags", np.zeros(2)), print)
    with pytest.raises(DataError, match="made again with other content"):
        pickle.loads(arrays)["flags"]


def test_of_large_data_some_blocks_are_read_each_time(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "BLOCK", 512)
    monkeypatch.setattr(keeping, "BLOCK", 512)
    monkeypatch.setattr(kept, "PIECE", 512)
    monkeypatch.setattr(kept, "MOST_CHECKED", 512 * 4)
    arrays = keep(tmp_path, KEY, make, print)
    assert len(arrays.files["train/input"].blocks) == 19 and not arrays.damaged()
    flip(arrays.folder / "0.npy", -600)
    assert {arrays.damaged() for _ in range(200)} == {"", "train/input"}


def test_what_cannot_be_decoded_leaves_nothing(tmp_path):
    def broken(sink: Sink) -> None:
        sink.create("train/input", (50, 3), "uint8")
        raise DataError("data(...)[3] cannot be read")

    with pytest.raises(DataError, match=r"\[3\]"):
        keep(tmp_path, KEY, broken, print)
    assert [path.name for path in (tmp_path / "data").iterdir()] == [f"{KEY}.lock"]


def test_a_full_disk_is_told_and_memory_used(tmp_path, monkeypatch):
    monkeypatch.setattr(keeping.shutil, "disk_usage", lambda path: SimpleNamespace(total=1e9, free=5e7 + 100))
    lines = said()
    assert same(keep_or_hold(tmp_path, KEY, make, lines.append))
    [line] = lines
    assert "held in memory" in line and "50 MB are free on the disk" in line
    assert not (tmp_path / "data" / KEY).exists()


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_disk_that_cannot_be_written_is_told_and_memory_used(tmp_path, monkeypatch, error):
    def refuse(*arguments: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(keeping.os, "pwrite", refuse)
    lines = said()
    assert same(keep_or_hold(tmp_path, KEY, make, lines.append))
    assert len(lines) == 1 and os.strerror(error) in lines[0]
    assert [path.name for path in (tmp_path / "data").iterdir()] == [f"{KEY}.lock"]


def test_a_store_whose_data_folder_is_a_link_is_not_written_to(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CannotKeep, match="is a link"):
        keep(tmp_path, KEY, make, print)
    assert not list((tmp_path / "elsewhere").iterdir())
    with pytest.raises(ValueError, match="key must be"):
        keep(tmp_path, "../../etc", make, print)


def test_a_store_that_cannot_be_written_is_read(tmp_path, monkeypatch):
    keep(tmp_path, KEY, make, print)
    monkeypatch.setattr(keeping, "_alone", lambda *arguments: pytest.fail("nothing is to be written"))
    assert same(keep(tmp_path, KEY, never, print))


def _slowly(store: Path, begun: Path) -> None:
    def slow(sink: Sink) -> None:
        make(sink)
        begun.touch()
        time.sleep(60)

    keep(store, KEY, slow, print)


def test_a_process_that_is_killed_while_decoding_leaves_what_the_next_removes(tmp_path):
    begun = tmp_path / "begun"
    process = multiprocessing.get_context("fork").Process(target=_slowly, args=(tmp_path / "store", begun))
    process.start()
    while not begun.exists():
        time.sleep(0.01)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    [left] = (tmp_path / "store" / "data").glob("*.partial")
    lines = said()
    assert same(keep(tmp_path / "store", KEY, make, lines.append)) and not left.exists() and not lines


def test_two_processes_decode_once_and_the_second_says_that_it_waits(tmp_path):
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from tests.trainables.data.test_kept import make, keep, KEY\n"
        "def slow(sink):\n"
        "    print('made', flush=True)\n"
        "    make(sink)\n"
        "    while not Path(sys.argv[2]).exists(): time.sleep(0.01)\n"
        "def tell(text):\n"
        "    print(text, flush=True)\n"
        "    Path(sys.argv[2]).touch()\n"
        "keep(Path(sys.argv[1]), KEY, slow, tell)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "store"), str(tmp_path / "waited")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    texts = sorted(process.communicate(timeout=120)[0] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert texts == ["made\n", "waiting for another sweep that decodes the same data\n"]


def test_arrays_in_memory_are_kept_from_8_mb_on(tmp_path):
    assert keep_large(tmp_path, DATA, print) is DATA and not (tmp_path / "data").exists()
    large = {"images": np.zeros((8_000, 1000), np.uint8)}
    arrays = keep_large(tmp_path, large, print)
    assert isinstance(arrays, KeptArrays) and checksum_of(arrays) == checksum_of(large)
    again = keep_large(tmp_path, large, print)
    assert isinstance(again, KeptArrays) and again.folder == arrays.folder
    assert json.loads((arrays.folder / "manifest.json").read_text())["arrays"][0]["name"] == "images"
