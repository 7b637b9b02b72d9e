"""``rayduce front``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rayduce.commands.arguments import (
    DEFAULT_STORE,
    AsJson,
    StoreDir,
    SweepName,
    TrackingUri,
)
from rayduce.commands.console import (
    err,
    escaped,
    out,
    print_json,
    problems,
    tell,
    whole_line,
)
from rayduce.commands.help import Command
from rayduce.commands.offer import offered, say_offer
from rayduce.commands.results import (
    families_line,
    front_rows,
    front_table,
    mark_line,
    table_notes,
    where_store_is,
)

if TYPE_CHECKING:
    from search.store.sweep import Sweep

commands = typer.Typer()


@commands.command(
    cls=Command,
    epilog="Examples:\n\n  rayduce front\n\n  rayduce front digits-1 --json\n\n"
    "  rayduce front --html front.html --pdf front.pdf",
)
def front(
    name: SweepName = None,
    store: StoreDir = DEFAULT_STORE,
    tracking_uri: TrackingUri = None,
    as_json: AsJson = False,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page that opens without a network.")
    ] = None,
    png: Annotated[
        Path | None, typer.Option("--png", metavar="FILE", help="Write the figure; uses Chromium.")
    ] = None,
    svg: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", help="The same of lines, for a talk.")
    ] = None,
    pdf: Annotated[
        Path | None, typer.Option("--pdf", metavar="FILE", help="The same of lines, for a paper's column.")
    ] = None,
) -> None:
    """List the students on the front of a sweep, smallest first.

    Without a name it is that of the newest sweep that has a student.
    """
    from rayduce.commands.front_choice import newest_with_students, why_no_front
    from rayduce.commands.serve import write_front
    from search.store.store import open_store

    with problems():
        opened = open_store(store, tracking_uri, tell)
        found = opened.sweep(name) if name is not None else newest_with_students(opened)
        rows = front_rows(opened, found)
        missing = "" if rows else why_no_front(opened, found)
        named = {"png": png, "svg": svg, "pdf": pdf}
        pictures = {kind: path for kind, path in named.items() if path is not None}
        for path in write_front(opened, found, html, pictures) if html or pictures else ():
            err.print(f"Wrote {whole_line(str(path))}", highlight=False, soft_wrap=True)
    if as_json:
        print_json(rows)
    elif missing:
        out.print(whole_line(missing), highlight=False)
    else:
        with problems():
            offer = offered(opened, found, rows)
        _print(rows, found, offer, where_store_is(store, tracking_uri))


def _print(rows: list[dict[str, Any]], found: Sweep, offer: tuple[dict[str, Any], str], where: str) -> None:
    """The table of a front, what its numbers mean, and how a student is taken away."""
    title = f"Front of {escaped(found.name)}"
    table = front_table(rows, found.quality, title, out.width, found.asked, found.teacher)
    out.print(table)
    if told := families_line(rows, found.size):
        out.print(told, highlight=False)
    if notes := table_notes(rows, found):
        out.print(notes, style="dim", highlight=False)
    if line := mark_line(found.mark, found.quality):
        out.print(line, style="dim", highlight=False)
    if limits := found.budget.text(found.quality):
        teacher = found.quality.text(found.teacher_validation)
        out.print(
            f"Budget: {escaped(limits)}. The teacher's validation {found.quality.label} is {teacher}.",
            style="dim",
            highlight=False,
        )
    for metric, signature in sorted(found.signatures.items()):
        out.print(f"{escaped(metric)}: {escaped(signature)}", style="dim", highlight=False)
    say_offer(*offer, where)
