"""A value that is refused is told, whichever option was given it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from rayduce.commands import sweep
from rayduce.commands.app import app
from rayduce.commands.limits import check_metrics
from search.objectives.budget import Budget

COMMANDS = get_command(app).commands  # type: ignore[attr-defined]


def checked() -> Iterator[tuple[str, str]]:
    """Commands and those of their options that are read as numbers or one of a few words."""
    for name, command in COMMANDS.items():
        for option in command.params:
            read = option.param_type_name == "option" and option.bare_type()
            if read and (read in ("int", "float") or "Literal" in read):
                yield name, option.opts[0]


FOUND = [*checked()]


def test_options_of_numbers_are_found() -> None:
    assert {("choose", "--max-drop"), ("sweep", "--size-of"), ("mlflow", "--port")} <= {*FOUND}
    assert len(FOUND) > 40


@pytest.mark.parametrize("name", sorted({name for name, _ in FOUND}))
def test_what_cannot_be_read_is_in_the_message(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    required = [
        each for each in COMMANDS[name].params if each.param_type_name == "argument" and each.required
    ]
    for option in (option for command, option in FOUND if command == name):
        done = CliRunner().invoke(app, [name, *["net.py"] * len(required), option, "1%x"])
        assert done.exit_code == 2 and "1%x" in done.stderr and option in done.stderr, (option, done.stderr)


@pytest.mark.parametrize(
    "given",
    [
        ("mlflow", "--port", "70000"),
        ("sweep", "digits", "--trials", "-7"),
        ("sweep", "digits", "--phase-bytes", "7 pots"),
        ("choose", "--max-drop", "-7"),
        ("choose", "--max-bytes", "-7"),
        ("choose", "--max", "macs=7x"),
        ("sweep", "digits", "--fix", "bits=7x"),
        ("sweep", "digits", "--range", "bits=8:7x"),
        ("sweep", "digits", "--range", "bits=70"),
        ("plan", "digits", "--methods", "7x"),
    ],
)
def test_what_is_out_of_range_is_in_the_message(
    given: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, [*given])
    assert done.exit_code == 2 and re.split("[=:]", given[-1])[-1] in done.stderr, done.stderr


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--max", "foo=3"), "--max foo cannot be used: there is no such metric: use one of packed_bytes, "),
        (("--minimize", "sparsity"), "--minimize sparsity cannot be used: more of it is better"),
        (("--range", "bits=4:2"), "--range bits=4:2: its ends must ascend"),
    ],
)
def test_what_needs_no_data_is_told_before_any_is_read(
    given: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "study_of", lambda *_, **__: pytest.fail("the study is opened"))
    done = CliRunner().invoke(app, ["sweep", "digits", *given, "--store", str(tmp_path / "store")])
    assert done.exit_code == 2 and said in done.stderr, done.output


def test_what_only_translators_measure_may_be_limited() -> None:
    check_metrics(Budget({"latency_beam_ms": 5.0, "macs": 1e6}), size="packed_bytes", minimized=())


def test_a_store_that_cannot_be_written_is_told_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "study_of", lambda *_, **__: pytest.fail("the study is opened"))
    store, refusal = tmp_path / "a" / "store", Mock(side_effect=PermissionError(13, "Permission denied"))
    monkeypatch.setattr("rayduce.commands.arguments.tempfile.TemporaryFile", refusal)
    done = CliRunner().invoke(app, ["sweep", "digits", "--store", str(store)])
    said = f"Cannot write to the store's folder {store}: Permission denied; choose another with --store."
    assert done.exit_code == 2 and said in done.stderr
    refusal.assert_called_once_with(dir=tmp_path)


@pytest.mark.parametrize("below", ["", "deeper/store"])
@pytest.mark.parametrize(
    "command", [("choose",), ("front",), ("sweep", "digits"), ("plan", "digits"), ("compress", "net.py")]
)
def test_a_file_is_no_store(command: tuple[str, ...], below: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    done = CliRunner(env={"COLUMNS": "1000"}).invoke(app, [*command, "--store", str(file / below)])
    assert done.exit_code == 2 and "file is a file and not a folder; give another." in done.stderr
