"""What a sweep tells of a user's data, and keeps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search.log.folder import SweepFolder
from search.options import Options
from search.problem import Problem
from search.store.store import own_database
from search.sweeps import sweep as sweeping
from search.tracking.record import Record
from studies.known import find_study


class Told:
    def __init__(self) -> None:
        self.remarks: list[str] = []

    def say(self, text: str) -> None:
        pass

    def remark(self, text: str) -> None:
        self.remarks.append(text)

    def changed(self, records: Mapping[str, Record]) -> None:
        pass


def test_a_sweep_says_what_it_found_and_keeps_it_with_its_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.RandomState(0)
    for label in ("caf\udce9", "tea"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(8):
            pixels = random.randint(0, 256, (8, 8, 4), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / label / f"{number}.png")
        (tmp_path / "photos" / label / "notes.txt").touch()

    def no_ray(options: Options, folder: object) -> None:
        raise Problem("Ray is not needed here.")

    monkeypatch.setattr(sweeping, "start_ray", no_ray)
    store, told = tmp_path / "store", Told()
    options = Options("photos-1", 2, 0, store, own_database(store), data=tmp_path)
    with pytest.raises(Problem, match="not needed"):
        sweeping.run_sweep(find_study("image_folder"), options, told, lambda name: "")
    assert told.remarks == [
        "read from: photos",
        r"left out: .txt files (2: caf\xe9/notes.txt, tea/notes.txt)",
        "changed: images with an alpha channel or transparent colours, put on white "
        r"(16: caf\xe9/0.png, caf\xe9/1.png, caf\xe9/2.png, ...)",
    ]
    kept = json.loads(SweepFolder(store, "photos-1").settings.read_text())
    assert kept["task"]["classes"] == [r"caf\xe9", "tea"]
    assert kept["data"]["used"] == 16 and kept["data"]["entered"] == ["photos"]
    assert kept["data"]["left_out"] == [
        {"kind": ".txt files", "count": 2, "examples": [r"caf\xe9/notes.txt", "tea/notes.txt"]}
    ]
