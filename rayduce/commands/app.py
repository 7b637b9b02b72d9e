"""The command line."""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from rayduce.commands import choose, compress, front, methods, pages, plan, student, sweep
from rayduce.commands.console import err, out, whole_line
from search.clusters.temporary import keep_torch_private

app = typer.Typer(
    name="rayduce",
    help="Find the smallest student of a trained network that stays accurate.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # with it, help is not Command's and shows the type of each switch
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (sweep, compress, plan, methods, front, choose, student, pages):
    app.add_typer(group.commands)


@app.callback(invoke_without_command=True)
def rayduce(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Find the smallest student of a trained network that stays accurate."""
    from rayduce.own_packages import strangers

    if version:
        out.print(f"rayduce {_version()}", highlight=False)
        raise typer.Exit
    if warning := strangers():
        err.print(f"[bold yellow]Warning:[/] {whole_line(warning)}", highlight=False, soft_wrap=True)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as version_of

    try:
        return version_of("rayduce")
    except PackageNotFoundError:
        err.print(
            "[bold red]Error:[/] Rayduce is not installed here; run pip install ./rayduce_reader .",
            highlight=False,
        )
        raise typer.Exit(2) from None


def main() -> None:
    """Entry point of ``rayduce``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None if it is closed
            stream.reconfigure(errors="backslashreplace")  # a letter that the terminal's encoding lacks
    keep_torch_private()
    app(prog_name="rayduce")


if __name__ == "__main__":
    main()
