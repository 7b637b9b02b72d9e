"""Damaged copies of files: as many as asked for, reproducible, of all kinds, and none of them whole."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from benchmarks.mutants import attempts, mutants

LINES = b'{"op": 1, "name": "a"}\n{"op": 2, "values": [0.5, 1.0]}\n'
JSON = json.dumps({"a": {"b": [1, 2, {"c": None}]}, "text": json.dumps({"epoch": 1})}).encode()


@pytest.mark.parametrize(
    "data", [LINES, JSON, safetensors.numpy.save({"x": np.zeros(3, dtype=np.float32)}), b"\x00\x01", b"7"]
)
def test_mutants_are_damaged_and_a_function_of_the_seed(data):
    found = list(mutants(data, 300, seed=3))
    assert len(found) == 300
    assert all(mutant.data != data for mutant in found)
    assert found == list(mutants(data, 300, seed=3))
    assert found != list(mutants(data, 300, seed=4))
    assert len({mutant.what for mutant in found}) > 15


def test_json_is_changed_within_as_json():
    parsed = []
    for mutant in mutants(JSON, 500):
        try:
            parsed.append(json.loads(mutant.data))
        except (ValueError, RecursionError):
            continue
    assert sum(isinstance(each, dict) and each.keys() != {"a", "text"} for each in parsed) > 5
    assert sum(isinstance(each, dict) and "epoch" not in str(each.get("text")) for each in parsed) > 5


def test_lines_are_changed_one_at_a_time():
    first, second = LINES.splitlines()
    found = [mutant for mutant in mutants(LINES, 500)]
    assert any(mutant.data.startswith(second) for mutant in found)
    assert any(mutant.data.count(first) == 2 for mutant in found)
    one_changed = [m for m in found if (first in m.data) != (second in m.data)]
    assert len(one_changed) > 100


def test_a_header_of_safetensors_keeps_its_length_true():
    data = safetensors.numpy.save({"x": np.zeros(3, dtype=np.float32)})
    true = 0
    for mutant in mutants(data, 300):
        length = int.from_bytes(mutant.data[:8], "little")
        true += mutant.data[8 + length :] == data[-12:] and mutant.data[8 : 8 + length] != data[8:-12]
    assert true > 50


def test_every_attempt_meets_the_same_folder_and_leaves_it(tmp_path):
    folder = tmp_path / "store"
    folder.mkdir()
    path = folder / "state.json"
    path.write_bytes(JSON)
    (folder / "other").write_text("whole")
    met = []

    def use(where: Path) -> None:
        met.append((where / "other").read_text())
        (where / "other").write_text("changed")
        (where / "more").mkdir()
        json.loads((where / "state.json").read_bytes())

    found = list(attempts(folder, path, use, 50))
    assert met == ["whole"] * 50
    errors = {type(each.error) for each in found}
    assert type(None) in errors and json.JSONDecodeError in errors
    assert path.read_bytes() == JSON and (folder / "other").read_text() == "whole"
    assert sorted(each.name for each in folder.iterdir()) == ["other", "state.json"]
