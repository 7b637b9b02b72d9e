"""``rayduce methods``."""

from __future__ import annotations

import typer

from rayduce.commands.arguments import (
    AsJson,
)
from rayduce.commands.console import (
    out,
    print_json,
)
from rayduce.commands.help import Command

commands = typer.Typer()


@commands.command(
    cls=Command,
    short_help="List the methods and what can be searched of them.",
    epilog="Examples:\n\n  rayduce methods\n\n  rayduce methods --json",
)
def methods(as_json: AsJson = False) -> None:
    """List the published methods, their papers, and what a sweep searches of them.

    Names are those of --methods, --fix and --range; --json lists all that can be given a range, searched by
    itself or not.
    """
    from rayduce.commands.methods_table import method_records, methods_table

    if as_json:
        print_json(method_records())
    else:
        out.print(methods_table(), highlight=False)
