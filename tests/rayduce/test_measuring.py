"""What a user says of a device, and the examples of commands that measure."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from rayduce.measuring import asking, measuring
from search.problem import Problem
from trainables.exporting.export import to_onnx
from trainables.interfaces import Classifier
from trainables.metrics.asking import ask, read_command

ROOT = Path(__file__).resolve().parents[2]
COMMAND = "ask-pi --fast {onnx}"
WORDS = ("ask-pi", "--fast", "{onnx}")


def test_what_is_said_becomes_options() -> None:
    assert measuring(None, None, None) == {}
    assert measuring(COMMAND, None, None) == {"device": "device", "measure": WORDS}
    assert measuring(COMMAND, "pi-4.b", 3.5) == {"device": "pi-4.b", "measure": WORDS, "measure_seconds": 3.5}
    assert asking(COMMAND, None) == {"measure": WORDS}


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ((None, "pi", None), "--device is about what --measure asks: give --measure 'COMMAND {onnx}', too"),
        ((None, None, 5.0), "--measure-timeout is about what --measure asks"),
        (("ask-pi", None, None), "--measure cannot be used: it does not say where the exported file goes"),
        (("ask 'pi {onnx}", None, None), "--measure cannot be used: it cannot be split into words"),
        ((COMMAND, "../pi", None), "--device cannot be used: the name of a device must be"),
        ((COMMAND, None, 0.0), "--measure-timeout must be above 0 and finite, got 0"),
        ((COMMAND, None, float("nan")), "--measure-timeout must be above 0 and finite, got nan"),
    ],
)
def test_what_cannot_be_is_told(said: tuple[Any, Any, Any], told: str) -> None:
    with pytest.raises(Problem) as error:
        measuring(*said)
    assert told in str(error.value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A small network as a file."""
    path = tmp_path / "a folder" / "network.onnx"
    path.parent.mkdir()
    files = to_onnx(nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), Classifier((1, 4, 4)), {})
    path.write_bytes(files["network"])
    return path


def check(numbers: dict[str, float], file: Path) -> None:
    assert numbers.keys() == {"latency_ms", "process_kib", "file_bytes"}
    assert numbers["latency_ms"] > 0 and numbers["process_kib"] > 1000
    assert numbers["file_bytes"] == file.stat().st_size


def test_the_example_measures_here(file: Path) -> None:
    words = read_command(f"{sys.executable} examples/measure_here.py {{onnx}}")
    check(ask(words, [file], ROOT, 300), file)


def test_the_example_measures_on_another_machine(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``ssh`` and ``scp`` are replaced by what does the same here; the home there has the script."""
    home, programs = tmp_path / "home", tmp_path / "programs"
    home.mkdir()
    programs.mkdir()
    (home / "measure_here.py").write_bytes((ROOT / "examples" / "measure_here.py").read_bytes())
    scripts = {
        "ssh": f'shift 3; cd {home}; TMPDIR={home} exec sh -c "$*"',
        "scp": 'shift 3; for last; do :; done; cp "$1" "${last#*:}"',
        "python3": f'exec {sys.executable} "$@"',
    }
    for name, text in scripts.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o700)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    words = read_command("examples/measure_by_ssh.sh me@there {onnx}")
    check(ask(words, [file], ROOT, 300), file)
    assert [path.name for path in home.iterdir()] == ["measure_here.py"]  # what was copied is removed
