"""Options that are written once, as a dataclass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from rayduce.commands.groups import with_groups

Size = Annotated[int, typer.Option("--size", help="How large.")]


@dataclass(frozen=True)
class Box:
    """What is said of a box."""

    size: Size = 3
    colours: Annotated[list[str] | None, typer.Option("--colour")] = None


app = typer.Typer()


@app.command()
@with_groups
def pack(name: Annotated[str, typer.Argument()], *, box: Box, heavy: bool = False) -> None:
    """Pack a box."""
    print(name, box, heavy)


@pytest.mark.parametrize(
    "said, heard",
    [
        ("toys", f"toys {Box()} False"),
        ("toys --size 5 --colour red --heavy --colour blue", f"toys {Box(5, ['red', 'blue'])} True"),
    ],
)
def test_a_command_gets_a_dataclass_of_what_was_said(said: str, heard: str) -> None:
    assert CliRunner().invoke(app, said.split()).stdout.strip() == heard


def test_its_fields_are_options_in_their_place_with_their_help_and_their_errors() -> None:
    told = CliRunner().invoke(app, ["--help"]).stdout
    assert told.index("--size") < told.index("--colour") < told.index("--heavy")
    assert "How large." in told and "Pack a box." in told
    assert CliRunner().invoke(app, ["toys", "--size", "many"]).exit_code == 2
