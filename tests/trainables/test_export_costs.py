"""What is counted on an export: once for each student, and equal to what a user gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rayduce.commands.app import app
from tests.exports import packed_student
from trainables.exporting.checking import ExportError
from trainables.exporting.ram import RamError
from trainables.shipping.evaluation import open_student
from trainables.training import export_costs, trial_metrics
from trainables.training.export_costs import counted_export, exported
from trainables.training.trial_metrics import TrialSettings, export_metrics, first_metrics


@pytest.fixture(scope="module")
def packed() -> bytes:
    return packed_student()


def test_the_size_in_onnx_is_that_of_what_a_user_exports(packed: bytes, tmp_path: Path) -> None:
    (tmp_path / "student.rdz").write_bytes(packed)
    target = tmp_path / "student.onnx"
    done = CliRunner().invoke(app, ["export", str(tmp_path / "student.rdz"), str(target)])
    assert done.exit_code == 0, done.output
    recipe, student = open_student(packed)
    found = counted_export(recipe, packed, student)
    assert found.missing == "" and found.numbers["onnx_bytes"] == target.stat().st_size


def test_a_student_is_exported_once_whatever_is_measured_of_it(packed: bytes, tmp_path, monkeypatch) -> None:
    done = []

    def counted(room: Any, name: str) -> None:
        function = getattr(room, name)

        def count(*args: Any) -> Any:
            done.append(name)
            return function(*args)

        monkeypatch.setattr(room, name, count)

    counted(export_costs, "to_onnx")
    counted(trial_metrics, "to_onnx")
    counted(export_costs, "sized_graphs")
    recipe, student = open_student(packed)
    settings = TrialSettings(tmp_path / "latency", teacher_bytes=1000)
    first = export_metrics(recipe, packed, student, settings)
    assert first.numbers.keys() == {"onnx_bytes", "ram_bytes", "latency_ms"}
    assert done == ["to_onnx", "sized_graphs"]
    again = export_metrics(recipe, packed, student, settings)
    assert again.numbers == first.numbers and done == 2 * ["to_onnx", "sized_graphs"]


def test_why_numbers_are_missing_is_told(packed: bytes, tmp_path, monkeypatch) -> None:
    recipe, student = open_student(packed)
    settings = TrialSettings(tmp_path / "latency", teacher_bytes=1000)

    def no_memory(*_: object) -> Any:
        raise RamError("it has a Loop, which repeats a part of it")

    monkeypatch.setattr(export_costs, "sized_graphs", no_memory)
    found = export_metrics(recipe, packed, student, settings)
    assert found.numbers.keys() == {"onnx_bytes", "latency_ms"} and found.layers
    assert found.missing == "no ram_bytes: it has a Loop, which repeats a part of it"

    def no_export(*_: object) -> dict[str, bytes]:
        raise ExportError("there is no form for sorting")

    monkeypatch.setattr(export_costs, "to_onnx", no_export)
    nothing = export_metrics(recipe, packed, student, settings)
    assert nothing.numbers == {} and nothing.layers == []
    assert nothing.missing == "no latency, memory or size in ONNX: there is no form for sorting"


def test_memory_is_known_before_training_where_it_decides(packed: bytes, monkeypatch) -> None:
    monkeypatch.setattr(export_costs, "_RAM", {})
    recipe, student = open_student(packed)
    numbers = counted_export(recipe, packed, student).numbers
    assert numbers["ram_bytes"] > 0
    exports: list[bytes] = []

    def counting(recipe: Any, data: bytes, student: Any) -> dict[str, bytes]:
        exports.append(data)
        return exported(recipe, data, student)

    monkeypatch.setattr(export_costs, "exported", counting)
    for first, told in (
        ((), {}),
        (("ram_bytes",), {"ram_bytes": numbers["ram_bytes"]}),
        (("ram_bytes",), {"ram_bytes": numbers["ram_bytes"]}),
        (("onnx_bytes",), numbers),
    ):
        settings = TrialSettings(None, 1, first=frozenset(first))
        assert first_metrics(recipe, packed, student, settings) == told
    assert len(exports) == 2  # the memory of an architecture is counted once, the size of each student
