"""A value that is refused is told, whichever option was given it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from rayduce.commands.app import app

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
